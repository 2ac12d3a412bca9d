"""The contact ledger: what was booked, cancelled and answered, in one Delta table."""
