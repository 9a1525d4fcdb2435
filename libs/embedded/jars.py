"""python -m libs.embedded.jars <list> <directory>: fetches the jars of a checksum list where there is no Maven.

Runs with the packages of `requirements/maven.txt` on its path, which know the public repository. A mirror is taken from
MAVEN_REPOSITORY or from the `<mirrors>` of ~/.m2/settings.xml. What came is compared by whoever started this.
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree

AT_ONCE = 4
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
SETTINGS = Path("~/.m2/settings.xml")


def find_mirror(settings: Path) -> str | None:
    """Return the address that stands for Maven's public repository here, None when none is set."""
    named = os.environ.get("MAVEN_REPOSITORY")
    if named or not settings.exists():
        return named
    for mirror in ElementTree.parse(settings).iterfind(".//{*}mirror"):
        of = {word.strip() for word in mirror.findtext("{*}mirrorOf", "").split(",")}
        if of & {"*", "central", "external:*"} and "!central" not in of:
            return str(mirror.findtext("{*}url", "")).strip() or None
    return None


def fetch(paths: list[str], directory: Path) -> None:
    """Fetch each path of a Maven repository (`group/as/folders/artifact/version/file.jar`) into `directory`."""
    from maven_artifact import Artifact, Downloader

    mirror = find_mirror(SETTINGS.expanduser())
    downloader = Downloader(base=mirror) if mirror else Downloader()

    def one(path: str) -> None:
        *group, artifact, version, file = path.split("/")
        downloader.download(Artifact(".".join(group), artifact, version), filename=str(directory / file))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(one, paths))


if __name__ == "__main__":
    if CERTIFICATES.exists():  # the machine's own, which pip and Maven trust as well
        os.environ.setdefault("REQUESTS_CA_BUNDLE", str(CERTIFICATES))
    fetch([line.split()[1] for line in Path(sys.argv[1]).read_text().splitlines()], Path(sys.argv[2]))
