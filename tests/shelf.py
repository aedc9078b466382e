"""`shelf://FOLDER/...`: an object store for tests, kept on the local disk and reached only through Beam's filesystems."""

import os
import shutil

from apache_beam.io.filesystem import FileMetadata, FileSystem


def _local(path: str) -> str:
    return path.removeprefix("shelf:/")


class ShelfFileSystem(FileSystem):
    """Objects have names, not folders: nothing can be renamed but one object at a time."""

    @classmethod
    def scheme(cls):
        return "shelf"

    def join(self, basepath, *paths):
        return "/".join([basepath.rstrip("/"), *(path.strip("/") for path in paths)])

    def split(self, path):
        return tuple(path.rsplit("/", 1))

    def mkdirs(self, path):
        raise OSError("an object store has no folders")

    def has_dirs(self):
        return False

    def _list(self, dir_or_prefix):
        prefix = _local(dir_or_prefix)
        for folder, _, names in os.walk(os.path.dirname(prefix) if not os.path.isdir(prefix) else prefix):
            for name in names:
                path = os.path.join(folder, name)
                if path.startswith(prefix):
                    yield FileMetadata(f"shelf:/{path}", os.path.getsize(path), os.path.getmtime(path))

    def create(self, path, mime_type="application/octet-stream", compression_type="auto"):
        os.makedirs(os.path.dirname(_local(path)), exist_ok=True)
        return open(_local(path), "wb")

    def open(self, path, mime_type="application/octet-stream", compression_type="auto"):
        return open(_local(path), "rb")

    def copy(self, source_file_names, destination_file_names):
        for source, destination in zip(source_file_names, destination_file_names, strict=True):
            os.makedirs(os.path.dirname(_local(destination)), exist_ok=True)
            shutil.copy(_local(source), _local(destination))

    def rename(self, source_file_names, destination_file_names):
        self.copy(source_file_names, destination_file_names)
        self.delete(source_file_names)

    def exists(self, path):
        return os.path.isfile(_local(path))

    def size(self, path):
        return os.path.getsize(_local(path))

    def last_updated(self, path):
        return os.path.getmtime(_local(path))

    def checksum(self, path):
        return str(self.size(path))

    def metadata(self, path):
        return FileMetadata(path, self.size(path), self.last_updated(path))

    def delete(self, paths):
        for path in paths:
            if os.path.isdir(_local(path)):
                shutil.rmtree(_local(path))
            else:
                os.unlink(_local(path))
