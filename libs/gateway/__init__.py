"""One address before the processes of all services: nginx where it is installed, else a proxy of our own.

A request goes to a service by its path, and to one of its processes in turn. A process that says it is not ready, or
says nothing, gets none. What is asked of all processes at once (`/readyz`, `/healthz`, `/metrics`) is asked here.
"""
