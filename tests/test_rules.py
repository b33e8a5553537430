"""Our own rules: each holds its examples, leaves its counterexamples, and is linear in its own near-misses."""

import pytest
from rule_examples import expand

from pipeline.detect.rules import Rule, rules_from_json
from pipeline.policy.files import default_schemas_dir, read_policy_files

RULES = {rule.name: rule for rule in rules_from_json(read_policy_files(default_schemas_dir()).rules)}
SEEDS = range(5)


def values(rule: Rule, text: str) -> list[str]:
    """Return what a rule finds in a text."""
    return [text[span.start : span.end] for span in rule.find(text)]


@pytest.mark.parametrize("name", RULES)
def test_a_rule_finds_its_examples_and_leaves_its_counterexamples(name: str) -> None:
    """Every example has a finding, the declared value if there is one, and no counterexample has any."""
    rule = RULES[name]
    for seed in SEEDS:
        for example in rule.examples:
            text, *wanted = expand([example] if isinstance(example, str) else list(example), seed)
            found = values(rule, text)
            assert (text, bool(found), set(wanted) <= set(found)) == (text, True, True)
        for counterexample in rule.counterexamples:
            (text,) = expand([counterexample], seed)
            assert (text, values(rule, text)) == (text, [])
