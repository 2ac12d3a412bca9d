"""Tables in, tables out: ingest, profile, score, allocate and certify."""
