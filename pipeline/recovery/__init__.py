"""What was refused, and raw events once more: rejections looked up in raw, and replays (design §5, §8)."""
