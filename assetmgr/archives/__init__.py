"""Archives: what is in them, and its safe way to disk.

>>> from assetmgr.archives import dump_listing, extract, listing  # doctest: +SKIP
>>> members = listing("train2014.zip")  # what the lock pins: each file's path, size and sha256
>>> document = dump_listing(members)
>>> extract("train2014.zip", "images", members).written

zip, tar, tar.gz, tar.xz, tar.zst, tar.bz2, and single files compressed by one of these, told by their content. Out of
an archive come files and folders, under safe and distinct names, within `ArchiveLimits`; all else is an
`IntegrityError`. Nothing stands at its final name before it is whole and as the listing says.
"""

from assetmgr.archives.extracting import Extracted, extract, extract_member, sweep_stages
from assetmgr.archives.formats import Archive, open_archive, read_members
from assetmgr.archives.limits import ArchiveLimits
from assetmgr.archives.listings import ListedMember, dump_listing, extracted_size, listing, parse_listing
from assetmgr.archives.members import Member, Reader
from assetmgr.archives.places import MemberPlace, member_places, read_member
from assetmgr.archives.source import Seekable, Source, opened
from assetmgr.archives.zip_directory import ZipEntry, zip_directory

__all__ = [
    "Archive",
    "ArchiveLimits",
    "Extracted",
    "ListedMember",
    "Member",
    "MemberPlace",
    "Reader",
    "Seekable",
    "Source",
    "ZipEntry",
    "dump_listing",
    "extract",
    "extract_member",
    "extracted_size",
    "listing",
    "member_places",
    "open_archive",
    "opened",
    "parse_listing",
    "read_member",
    "read_members",
    "sweep_stages",
    "zip_directory",
]
