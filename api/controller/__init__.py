"""The controller: claims queued runs, launches their drivers, takes leases back.  Any number may run; none leads."""
