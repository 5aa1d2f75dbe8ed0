"""E-mail addresses and public IP addresses, masked."""

from curation.personal_data.stage import PersonalData

__all__ = ["PersonalData"]
