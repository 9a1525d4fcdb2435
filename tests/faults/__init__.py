"""The fault suite: a running system, a load that writes a history, faults by name, and a checker of what must hold.

    proxy.py         a TCP proxy between the services and Kafka, PostgreSQL and the receivers
    history.py       what was asked and answered, one JSON line each
    load.py          businesses that report, plan, log, add, repeat and read
    receivers.py     endpoints of those businesses, and the ledger of what reached them
    installation.py  servers behind proxies, the services, the load
    checker.py       I1 to I12, judged from history, ledger and stores
    named/           the faults
    plan.py          seeded: start, load, faults, heal, drain, check
    planted/         bugs that the checker must find; `process.py` starts services that have one
    results.py       bench/FAULTS.md

Run by `./activities faults`.
"""
