"""Whether a file's writer is done with it. Pure."""

from fmrp_erp_sftp.config import ErpSftpConfig
from fmrp_erp_sftp.listing import RemoteFile
from fmrp_erp_sftp.state import SftpState

_BEYOND_ANY_CLOCK_S = 86_400.0


def why_it_waits(file: RemoteFile, config: ErpSftpConfig, known: SftpState, now: float) -> str | None:
    """Why a file is left for later; None: it may be read. `now`: our time, in seconds since the epoch.

    With markers the marker alone counts. Without them a file must be `stable_s` old by the server's clock, or have
    looked the same that long ago by ours: the second needs no clock but our own, so it also holds for times that lie
    in the future or were carried over from elsewhere.
    """
    if config.done_suffix is not None:
        return None if file.marked else f"waits for {file.name}{config.done_suffix}, which is missing or older than it"
    if known.is_long_unchanged(file.name, file.size, file.mtime, now - config.stable_s):
        return None
    age_s = now + known.ahead_s - file.mtime
    if age_s >= config.stable_s:
        return None
    if age_s < -_BEYOND_ANY_CLOCK_S:
        return (
            f"was changed in the future ({file.modified_at:%Y-%m-%d %H:%M} UTC): is taken once it has looked the same "
            f"for {config.stable_s:g} s; correct the server's clock"
        )
    return f"was changed {max(age_s, 0):.0f} s ago, waits until {config.stable_s:g} s are over"
