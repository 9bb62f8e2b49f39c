"""Files written whole or not at all, and the one exception for a user's mistakes."""

import contextlib
import errno
import os

# What fsync answers on file systems that cannot sync a file or a folder.
CANNOT_SYNC = {
    errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES, errno.EPERM,
    errno.EBADF,
}


class UserError(ValueError):
    """A mistake of the user: one sentence with the file or flag, what is wrong and what to do."""


def fsync_path(path):
    """Wait until a file, or a folder's list of files, is on the disk, where that is supported."""
    if os.name == "nt" and os.path.isdir(path):
        return
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in CANNOT_SYNC:
            raise


@contextlib.contextmanager
def atomic_write(path):
    """Open a temporary file beside `path` for writing bytes; it is renamed to `path` when all of
    it is on the disk.

    Raises OSError, which names `path`, if that fails; the temporary file is removed then.
    """
    path = os.fspath(path)
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        with open(temporary, "wb") as file:
            yield file
        fsync_path(temporary)
        os.replace(temporary, path)
        fsync_path(os.path.dirname(path) or ".")
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.filename in (temporary, None):
            error.filename = path
        raise
