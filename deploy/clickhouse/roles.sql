-- Roles of a ClickHouse server that holds a store of lethe, in the database lethe. To be run by the server's own
-- administrator, once the tables are there (`lethe store migrate` and `lethe aggregates build` make them).
-- Written from the statements that each command sends. No server was run here: the statements are parsed, no more.
-- Views run with the rights of who asks, so whoever reads a view has SELECT on its table too.

-- What every user of lethe has: its statements stay out of the logs, and a runaway one ends.
CREATE SETTINGS PROFILE IF NOT EXISTS lethe_statements SETTINGS
  log_queries = 0, log_processors_profiles = 0, opentelemetry_start_trace_probability = 0, use_query_cache = 0,
  async_insert = 0, max_execution_time = 3600;

CREATE ROLE IF NOT EXISTS lethe_archive SETTINGS PROFILE 'lethe_statements';
CREATE ROLE IF NOT EXISTS lethe_abuse_desk SETTINGS PROFILE 'lethe_statements';
CREATE ROLE IF NOT EXISTS lethe_billing SETTINGS PROFILE 'lethe_statements';
CREATE ROLE IF NOT EXISTS lethe_officer SETTINGS PROFILE 'lethe_statements';
CREATE ROLE IF NOT EXISTS lethe_auditor SETTINGS PROFILE 'lethe_statements';
CREATE ROLE IF NOT EXISTS lethe_admin SETTINGS PROFILE 'lethe_statements';

-- lethe archive, and lethe run --to clickhouse: make tables, store records, take out what is erased or due.
GRANT SELECT, INSERT, ALTER UPDATE, ALTER DELETE, OPTIMIZE ON lethe.content_rows TO lethe_archive;
GRANT SELECT, INSERT, ALTER UPDATE, ALTER DELETE, OPTIMIZE ON lethe.operational_rows TO lethe_archive;
GRANT SELECT, INSERT, ALTER UPDATE, ALTER DELETE, OPTIMIZE ON lethe.rejected_rows TO lethe_archive;
GRANT SELECT, INSERT, ALTER DELETE ON lethe.tombstone_rows TO lethe_archive;
GRANT SELECT, INSERT, ALTER DELETE ON lethe.control_rows TO lethe_archive;
GRANT SELECT, INSERT, ALTER DELETE ON lethe.archive_tag_rows TO lethe_archive;
GRANT SELECT, INSERT, ALTER DELETE ON lethe.usage_stale_rows TO lethe_archive;
GRANT SELECT, ALTER DELETE ON lethe.usage_hourly TO lethe_archive;
GRANT SELECT, ALTER DELETE ON lethe.usage_daily TO lethe_archive;
GRANT SELECT ON lethe.content TO lethe_archive;
GRANT SELECT ON lethe.operational TO lethe_archive;
GRANT SELECT ON lethe.rejected TO lethe_archive;
GRANT CREATE TABLE, CREATE VIEW, DROP VIEW, ALTER TTL, ALTER MODIFY COLUMN, ALTER CLEAR COLUMN,
  ALTER MODIFY COMMENT, SYSTEM WAIT LOADING PARTS ON lethe.* TO lethe_archive;
GRANT SELECT, INSERT, DROP TABLE ON lethe.erasing_* TO lethe_archive;
GRANT SELECT ON system.parts TO lethe_archive;
GRANT SELECT ON system.detached_parts TO lethe_archive;
GRANT SELECT ON system.mutations TO lethe_archive;

-- lethe search and open: content, and no account.
GRANT SELECT ON lethe.content TO lethe_abuse_desk;
GRANT SELECT ON lethe.content_rows TO lethe_abuse_desk;
GRANT SELECT ON system.parts TO lethe_abuse_desk;

-- Billing: numbers and pseudonyms, and no content.
GRANT SELECT ON lethe.operational TO lethe_billing;
GRANT SELECT ON lethe.operational_rows TO lethe_billing;
GRANT SELECT ON lethe.usage_hourly TO lethe_billing;
GRANT SELECT ON lethe.usage_daily TO lethe_billing;

-- lethe erase, restrict, export, find, resolve, rescrub, purge and retention sweep.
GRANT lethe_archive TO lethe_officer;

-- lethe audit, and lethe retention verify: read all, change nothing.
GRANT SELECT ON lethe.content TO lethe_auditor;
GRANT SELECT ON lethe.content_rows TO lethe_auditor;
GRANT SELECT ON lethe.operational TO lethe_auditor;
GRANT SELECT ON lethe.operational_rows TO lethe_auditor;
GRANT SELECT ON lethe.rejected TO lethe_auditor;
GRANT SELECT ON lethe.rejected_rows TO lethe_auditor;
GRANT SELECT ON lethe.tombstone_rows TO lethe_auditor;
GRANT SELECT ON lethe.control_rows TO lethe_auditor;
GRANT SELECT ON lethe.archive_tag_rows TO lethe_auditor;
GRANT SELECT ON lethe.usage_stale_rows TO lethe_auditor;
GRANT SELECT ON lethe.usage_hourly TO lethe_auditor;
GRANT SELECT ON lethe.usage_daily TO lethe_auditor;
GRANT SYSTEM WAIT LOADING PARTS ON lethe.* TO lethe_auditor;
GRANT SELECT ON system.parts TO lethe_auditor;
GRANT SELECT ON system.detached_parts TO lethe_auditor;
GRANT SELECT ON system.mutations TO lethe_auditor;

-- lethe store migrate and aggregates build: tables and usage, and no content.
GRANT CREATE DATABASE, CREATE TABLE, CREATE VIEW, DROP VIEW, ALTER ADD COLUMN, ALTER MODIFY COLUMN,
  ALTER TTL, ALTER MODIFY COMMENT ON lethe.* TO lethe_admin;
GRANT SELECT, INSERT, DROP TABLE ON lethe.usage_build_* TO lethe_admin;
GRANT SELECT ON lethe.operational TO lethe_admin;
GRANT SELECT ON lethe.operational_rows TO lethe_admin;
GRANT SELECT, INSERT, ALTER DELETE ON lethe.usage_stale_rows TO lethe_admin;
GRANT SELECT, INSERT, ALTER DELETE ON lethe.usage_hourly TO lethe_admin;
GRANT SELECT, INSERT, ALTER DELETE ON lethe.usage_daily TO lethe_admin;
GRANT SELECT ON system.parts TO lethe_admin;

-- A user has one role. The password comes by another way than this file: here its SHA-256.
CREATE USER IF NOT EXISTS lethe_archive_1 IDENTIFIED WITH sha256_hash BY
  '0000000000000000000000000000000000000000000000000000000000000000' HOST NONE DEFAULT ROLE lethe_archive;
GRANT lethe_archive TO lethe_archive_1;
