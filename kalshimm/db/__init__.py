"""Django's database backend of kalshimm: TimescaleDB when the server has it, plain PostgreSQL when not."""
