"""Directory: who may do what, and what records there are.

Owns    business, member, role, api_key, record_object, record, record_merge, record_request,
        security_event
Serves  /api/directory
Hears   record.requested
Emits   directory.business, .member, .role, .api_key, .object, .record, record.changed, record.refused
"""
