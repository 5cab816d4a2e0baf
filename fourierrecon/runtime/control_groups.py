"""Finds the control groups of Linux, whose limits a queueing system, a container or systemd sets for a process.

A process is in a group of each hierarchy, and every group above it has limits too: those of a SLURM job are two or
three levels above its tasks. ``/proc/self/cgroup`` names the groups, one a line: ``0::/path`` in version 2, and
``4:memory:/path`` in version 1 (``man 7 cgroups``). In a container the path may be that of the host, of which only the
top is to be seen; groups that are not there are for the reader to pass over.
"""

from __future__ import annotations

#: Where version 2 is mounted, alone or beside version 1; hierarchies of version 1 lie in folders of their own.
UNIFIED, MOUNT = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"), "/sys/fs/cgroup"
#: File that lists the groups of a process.
MEMBERSHIP = "/proc/self/cgroup"


def folders_of(membership: str, controller: str) -> list[str]:
    """Give the folders of all groups whose limits hold for a process, from its own group up to the top.

    Parameters
    ----------
    membership
        Text of :data:`MEMBERSHIP`; empty where it cannot be read, which gives the top alone.
    controller
        ``memory`` or ``cpu``.
    """
    folders = []
    for line in membership.splitlines() or ["0::/"]:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        bases = [f"{MOUNT}/{name}" for name in (controller, controllers)] if controllers else UNIFIED
        # groups outside of the namespace are written with dots; they are not to be seen
        parts = [part for part in path.split("/") if part not in ("", ".", "..")]
        folders += ["/".join([base, *parts[:n]]) for base in bases for n in range(len(parts), -1, -1)]
    return list(dict.fromkeys(folders))
