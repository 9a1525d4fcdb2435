"""What the services share: errors, contracts, database, messaging, access, service, and embedded servers."""
