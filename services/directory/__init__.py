"""Directory: who may do what, and what records there are.

Owns    business, member, role, api_key, record_object, record, security_event
Serves  /api/directory
Hears   nothing
Emits   directory.business, .member, .role, .api_key, .object, .record
"""
