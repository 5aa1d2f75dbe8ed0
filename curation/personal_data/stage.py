"""The personal-data stage: addresses are masked, everything else stays as it is."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.batch import Batch
from curation.personal_data.mask import MAYBE_EMAIL, MAYBE_IP, mask_emails, mask_ips
from curation.stage import Measured, Parameters, Rule, Stage, measure_field


class PersonalDataParameters(Parameters):
    """What is masked, and what takes its place.

    Attributes:
        email: whether e-mail addresses are masked.
        ip: whether public IP addresses are masked.
        email_replacement: an address of a reserved domain (RFC 2606).
        ipv4_replacement: an address for documentation (RFC 5737).
        ipv6_replacement: an address for documentation (RFC 3849).
    """

    email: bool = True
    ip: bool = True
    email_replacement: str = "email@example.com"
    ipv4_replacement: str = "192.0.2.1"
    ipv6_replacement: str = "2001:db8::1"


class PersonalData(Stage):
    """Masks e-mail addresses and public IP addresses and counts them; decides nothing."""

    name: ClassVar[str] = "personal-data"
    version: ClassVar[int] = 2
    Parameters: ClassVar[type[Parameters]] = PersonalDataParameters
    parameters: PersonalDataParameters

    @property
    def schema(self) -> pa.Schema:
        return pa.schema(
            [
                measure_field("email_count", pa.int32(), "e-mail addresses that were masked"),
                measure_field("ip_count", pa.int32(), "public IP addresses that were masked"),
            ]
        )

    @property
    def changes_text(self) -> bool:
        return True

    def rules(self) -> Sequence[Rule]:
        return []

    def facts(self) -> dict[str, str]:
        # Which networks are public is a table in the standard library's ``ipaddress``.
        return {"ipaddress": platform.python_version()} if self.parameters.ip else {}

    def measure(self, batch: Batch) -> Measured:
        given = self.parameters
        text = batch.text
        emails = ips = pa.array(np.zeros(len(batch), np.int32))
        if given.email:
            maybe = pc.match_substring(text, MAYBE_EMAIL)
            text, emails = _masked(text, maybe, lambda one: mask_emails(one, given.email_replacement))
        if given.ip:
            maybe = pc.match_substring_regex(text, MAYBE_IP)
            text, ips = _masked(text, maybe, lambda one: mask_ips(one, given.ipv4_replacement, given.ipv6_replacement))
        return Measured({"email_count": emails, "ip_count": ips}, text)


def _masked(
    text: pa.LargeStringArray, maybe: pa.BooleanArray, mask: Callable[[str], tuple[str, int]]
) -> tuple[pa.LargeStringArray, pa.Array]:
    """Mask the rows in which something may be found; the others never become Python objects.

    Returns:
        The texts and how many addresses were masked in each (``int32``).
    """
    counts = np.zeros(len(text), np.int32)
    changed: list[str] = []
    for row in np.flatnonzero(maybe.fill_null(False).to_numpy(zero_copy_only=False)):
        masked, counts[row] = mask(text[row].as_py())
        if counts[row]:
            changed.append(masked)
    if changed:
        text = pc.replace_with_mask(text, pa.array(counts > 0), pa.array(changed, pa.large_string()))
    return text, pa.array(counts)
