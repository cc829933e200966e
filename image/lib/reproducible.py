"""Archives that have the same bytes whenever, wherever and by whomever they are made."""
import hashlib
import io
import os
import struct
import subprocess
import tarfile

ELF_MACHINES = {62: "amd64", 183: "arm64"}  # EM_X86_64, EM_AARCH64


def elf_machine(program):
    """Debian's name of the architecture that a program is for."""
    if len(program) < 20 or program[:4] != b"\x7fELF":
        return "no program"
    return ELF_MACHINES.get(struct.unpack_from("<H", program, 18)[0], "another machine")


def epoch(root):
    """SOURCE_DATE_EPOCH, else the time of the tree's last commit: seconds since 1970."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given:
        return int(given)
    done = subprocess.run(["git", "-C", root, "log", "-1", "--format=%ct"], capture_output=True,
                          text=True, check=False)
    return int(done.stdout) if done.returncode == 0 and done.stdout.strip() else 0


class Entry:
    """A file, a folder (data None) or a link (target) of an archive."""

    def __init__(self, path, data=None, mode=0o644, owner=0, target=None):
        self.path, self.data, self.owner, self.target = path.strip("/"), data, owner, target
        self.mode = mode


def tar(entries, when):
    """Bytes of a ustar archive: sorted, with the parents of each entry, names without users."""
    by_path = {}
    for entry in entries:
        parts = entry.path.split("/")
        for i in range(1, len(parts)):
            parent = "/".join(parts[:i])
            by_path.setdefault(parent, Entry(parent, mode=0o755))
        by_path[entry.path] = entry
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in sorted(by_path):
            entry = by_path[path]
            info = tarfile.TarInfo(path)
            info.mtime, info.uid, info.gid, info.mode = when, entry.owner, entry.owner, entry.mode
            if entry.target is not None:
                info.type, info.linkname = tarfile.SYMTYPE, entry.target
                archive.addfile(info)
            elif entry.data is None:
                info.type = tarfile.DIRTYPE
                archive.addfile(info)
            else:
                info.size = len(entry.data)
                archive.addfile(info, io.BytesIO(entry.data))
    return out.getvalue()


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def read(path):
    with open(path, "rb") as f:
        return f.read()


def write(path, data):
    """Whole or not at all: an image that was cut off is not mistaken for one."""
    with open(path + ".new", "wb") as f:
        f.write(data)
    os.replace(path + ".new", path)
