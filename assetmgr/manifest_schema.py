"""What a manifest may hold, as one table. Reading a manifest and its JSON Schema both follow from it.

A specification says what stands at one place. Where the rule for a text is a function (``fault``), the
``pattern`` is the nearest that a JSON Schema can say: it accepts whatever the function accepts and refuses
what it can. (Named tuples, because as many dataclasses would cost every command some milliseconds.)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from assetmgr.manifest_urls import endpoint_fault, folder_fault, mirror_fault, url_fault
from assetmgr.names import asset_name_fault, is_digest, is_repo, line_fault, path_fault

VERSION = 1
SAMPLE_READERS = (
    "caption",
    "image_text",
    "retrieval",
    "retrieval_eval",
    "vqa",
    "vqa_eval",
    "aok_vqa",
    "aok_vqa_eval",
    "vg_vqa",
    "gqa",
    "gqa_eval",
    "nlvr",
    "nlvr_eval",
    "snli_ve",
    "video_caption",
    "video_caption_eval",
    "video_qa",
    "video_retrieval",
    "video_retrieval_eval",
    "dialogue",
    "dialogue_eval",
    "image_folder",
    "webdataset",
)
LINK_STYLES = ("symlink", "hardlink", "copy")
TRANSPORTS = ("auto", "snapshot", "direct")
DISTRIBUTORS = ("multiprocessing", "pyspark", "ray")
LIST_FORMATS = ("json", "jsonl", "csv", "tsv", "txt", "parquet")
RESIZE_MODES = ("no", "border", "keep_ratio", "keep_ratio_largest", "center_crop")
DTYPES = ("auto", "float32", "float16", "bfloat16")
QUANTIZATIONS = ("int8", "nf4")
PREPARED_FORMATS = ("safetensors",)
DIGEST_LENGTHS = MappingProxyType({"sha256": 64, "md5": 32, "crc32c": 8})
_NO_CONTROL = r"^[^\u0000-\u001f]*$"
_LINES = r"^[^\u0000-\u0009\u000b-\u001f]*$"
_SAFE_PATH = r"^(?!/)(?!(.*/)?\.{0,2}(/|$))[^\\\u0000-\u001f]+$"
_PLACES = rf"^(files|torch|clip)$|^lavis/{_SAFE_PATH[1:]}"
_EXTRACT_PLACES = rf"^(files|torch|clip)$|^(files|lavis)/{_SAFE_PATH[1:]}"
_DATA_FILES_PATTERN = r"^(?![/~\\])(?!(.*/)?\.\.(/|$))(?!.*://)[^\u0000-\u001f]+$"
_ORDINARY = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]*\Z")
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*\Z")
_PREFIX = re.compile(r"[0-9a-f]{8,63}\Z")
_CLASS = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*(?::[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)?\Z", re.ASCII)


class Text(NamedTuple):
    what: str
    fault: Callable[[str], str | None] = lambda _: None
    pattern: str = _NO_CONTROL
    empty: bool = False
    lines: bool = False  # may have several


class Choice(NamedTuple):
    what: str
    values: tuple[str, ...]


class Number(NamedTuple):
    what: str
    minimum: int = 0
    maximum: int = 2**63 - 1


class Share(NamedTuple):
    what: str  # from 0 to 1


class Flag(NamedTuple):
    what: str
    values: tuple[bool, ...] = (True, False)


class ListOf(NamedTuple):
    what: str
    item: Spec
    least: int = 0
    alone: bool = False  # one item may stand without its list


class MapOf(NamedTuple):
    what: str
    key: Text
    value: Spec


class Either(NamedTuple):
    what: str
    options: tuple[Spec, ...]


class Field(NamedTuple):
    spec: Spec
    doc: str = ""
    required: bool = False


class Plain(NamedTuple):
    what: str  # any text, number, true, false or null, and lists and mappings of these


class Record(NamedTuple):
    what: str
    fields: Mapping[str, Field]
    one_of: tuple[str, ...] = ()  # exactly one of these keys must be there
    needs: Mapping[str, str] = MappingProxyType({})  # key -> the key that it cannot be without
    elsewhere: Mapping[str, str] = MappingProxyType({})  # key -> where it would be right
    some_of: tuple[str, ...] = ()  # at least one of these keys must be there


Spec = Text | Choice | Number | Share | Flag | ListOf | MapOf | Either | Plain | Record


def text_fault(spec: Text, text: str) -> str | None:
    if not text:
        return None if spec.empty else "it is empty"
    if not text.isprintable() and not _ORDINARY.match(text.replace("\n", " ") if spec.lines else text):
        return "it has a control character"
    return spec.fault(text)


def _repo_fault(text: str) -> str | None:
    if is_repo(text):
        return None
    if "://" in text:
        return "write only ORG/NAME; a hub of your own goes under {repo: ORG/NAME, endpoint: https://...}"
    if text.startswith(("datasets/", "models/")):
        return f"leave out {text.partition('/')[0] + '/'!r}: the section says it"
    return "a hub repo is ORG/NAME or NAME, of letters, digits, '-', '_' and '.'"


def _word_fault(text: str) -> str | None:
    return None if _WORD.match(text) else "it is a word of letters, digits, '_', '.', '+', '-'"


def _class_fault(text: str) -> str | None:
    return None if _CLASS.match(text) else "it is the name of a Python class, or package.module:Class"


def _place_fault(text: str) -> str | None:
    if text in ("files", "torch", "clip"):
        return None
    if not text.startswith("lavis/"):
        return "a place is files, torch, clip or lavis/<folder>"
    return path_fault(text)


def _extract_fault(text: str) -> str | None:
    if text in ("files", "torch", "clip"):
        return None
    if not text.startswith(("files/", "lavis/")):
        return "archives are extracted to files, files/<folder>, torch, clip or lavis/<folder>"
    return path_fault(text)


def _script_fault(text: str) -> str | None:
    return path_fault(text) or (None if "/" not in text or text.endswith(".py") else "a script's path ends with .py")


def _data_files_fault(text: str) -> str | None:
    if "://" in text or text.startswith(("/", "\\", "~")) or ".." in text.split("/"):
        return "data files are of the repo: a relative path or pattern such as 'data/train-*.parquet'"
    return None


def _media_fault(text: str) -> str | None:
    return None if text == "." else path_fault(text)


def _digest(algorithm: str) -> Text:
    length = DIGEST_LENGTHS[algorithm]

    def fault(text: str) -> str | None:
        if is_digest(text, algorithm):
            return None
        if is_digest(text.lower(), algorithm):
            return "write it in lower case"
        found = f"{len(text)} characters" if len(text) != length else "others among them"
        return f"a {algorithm} is {length} hexadecimal digits, and this has {found}"

    return Text(f"{length} lower-case hexadecimal digits", fault, f"^[0-9a-f]{{{length}}}$")


def _prefix_fault(text: str) -> str | None:
    return None if _PREFIX.match(text) else "it is 8 to 63 lower-case hexadecimal digits; a whole one is `sha256`"


_WORD_TEXT = Text("a word", _word_fault, "^[A-Za-z0-9_][A-Za-z0-9_.+-]*$")
_PATH = Text("a relative path with forward slashes", path_fault, _SAFE_PATH)
_FOLDER = Text("a folder", folder_fault)
_NAME = Text("an asset's name", asset_name_fault, r"^[A-Za-z0-9][A-Za-z0-9._+/-]*$")
_REPO = Text("a hub repo, ORG/NAME", _repo_fault, r"^[A-Za-z0-9_][\w.-]*(/[A-Za-z0-9_][\w.-]*)?$")
_ENDPOINT = Text("the address of a hub", endpoint_fault, r"^https?://[^/?#@\s]+(/[^?#\s]*)?$")
_HTTP_URL = r"https?://(?![^/?]*@)[^/?#\s]+([/?][^#\s]*)?$"
_LOCAL = r"file:[^?#\s]+$|\.?\.?[/\\]|~|[A-Za-z]:[\\/]"
_ELSEWHERE = r"gdrive:[A-Za-z0-9_-]{10,200}$|kaggle:[A-Za-z0-9][\w-]*/[A-Za-z0-9][\w-]*/[^?#\s]+$"
_URL = Text("a URL or a local path", url_fault, f"^({_HTTP_URL}|{_ELSEWHERE}|{_LOCAL})")
_MIRROR = Text("a mirror: a folder, http(s)://... or a bucket such as s3://name/prefix", mirror_fault)
_PATTERN = Text("a pattern such as '*.json'")
_PATTERNS = ListOf("a pattern or a list of patterns", _PATTERN, least=1, alone=True)

_FILE = Record(
    "a file",
    {
        "url": Field(
            ListOf("a URL or a list of URLs", _URL, least=1, alone=True),
            "A URL (http, https, file, gdrive, kaggle) or a path relative to the manifest; of several, the first that "
            "works.",
        ),
        "ask": Field(
            Text("an instruction", lambda text: None if text.strip() else "it is empty", _LINES, lines=True),
            "What a user must do by hand to get the file, shown when it is missing. `url` may be left out then, or "
            "name a local path where the file will be put.",
        ),
        "path": Field(_PATH, "The file's name in its place; by default the one in the URL."),
        "place": Field(
            Text("files, torch, clip or lavis/<folder>", _place_fault, _PLACES),
            "Which library's layout the file goes to: files (default), torch, clip or lavis/<folder>.",
        ),
        "size": Field(Number("a number of bytes"), "The size in bytes, if it is known."),
        "sha256": Field(_digest("sha256"), "The sha256 that the publisher states."),
        "sha256_prefix": Field(
            Text("8 to 63 lower-case hexadecimal digits", _prefix_fault, "^[0-9a-f]{8,63}$"),
            "What the sha256 begins with, as torch.hub has it in names such as deit-b5f2ef4d.pth.",
        ),
        "md5": Field(_digest("md5"), "The md5 that the publisher states."),
        "extract": Field(
            Either(
                "false, or where it is extracted to: files, files/<folder>, torch, clip or lavis/<folder>",
                (
                    Flag("false, or files, files/<folder>, torch, clip or lavis/<folder>", (False,)),
                    Text(
                        "files, files/<folder>, torch, clip or lavis/<folder>",
                        _extract_fault,
                        _EXTRACT_PLACES,
                    ),
                ),
            ),
            "Where an archive's files go: files, files/<folder>, torch, clip, lavis/<folder>; by default nowhere.",
        ),
        "strip": Field(
            Number("a number of folders", 0, 100),
            "How many leading folders each path in the archive loses (0).",
        ),
        "prefix": Field(_PATH, "A folder of the archive: only what lies below it is extracted (all)."),
        "keep_archive": Field(
            Flag("true or false"),
            "Whether the archive stays in the store once its files are proved (true).",
        ),
        "crc32c": Field(_digest("crc32c"), "The crc32c that the publisher states, in hexadecimal."),
    },
    needs=dict.fromkeys(("strip", "prefix", "keep_archive"), "extract"),
    some_of=("url", "ask"),
)

_HUB = Record(
    "a hub origin",
    {
        "repo": Field(_REPO, "The repo: ORG/NAME.", required=True),
        "endpoint": Field(_ENDPOINT, "The hub's address, where it is not the usual one."),
    },
)

_COLUMN = Text("a column's name")
_LIST_FILE = Record(
    "a list of URLs",
    {key: _FILE.fields[key] for key in ("url", "ask", "path", "place", "size", "sha256", "md5", "crc32c")},
    some_of=_FILE.some_of,
)
_URL_LIST = Record(
    "a url_list",
    {
        "list": Field(
            Either("a URL or a path of the list, or {url: ..., md5: ...}", (_URL, _LIST_FILE)),
            "The list: an annotation or a table with a URL in each row.",
            required=True,
        ),
        "format": Field(
            Choice("a format of lists", LIST_FORMATS),
            "What the list is, where its name does not end so (.gz may follow).",
        ),
        "rows": Field(_COLUMN, "In a JSON object: which key holds the rows."),
        "columns": Field(
            ListOf("a list of names", _COLUMN, least=1),
            "The columns of a csv or tsv without a line of names.",
        ),
        "url_col": Field(_COLUMN, "The column of the URLs (url)."),
        "caption_col": Field(_COLUMN, "The column of the captions; none are taken without it."),
        "image_col": Field(_COLUMN, "The column by which an annotation names its images; by default that is the URL."),
        "place": Field(
            Text("files, files/<folder> or lavis/<folder>", _extract_fault, _EXTRACT_PLACES),
            "Where the shards go: files/<folder> or lavis/<folder>; by default files/shards.",
        ),
        "distributor": Field(
            Choice("a distributor", DISTRIBUTORS),
            "What runs img2dataset's processes (multiprocessing).",
        ),
        "processes": Field(Number("a number of processes", 1, 4096), "How many processes; by default one a core."),
        "threads": Field(Number("a number of threads", 1, 4096), "How many images each process fetches at once (32)."),
        "timeout": Field(Number("a number of seconds", 1, 3600), "Seconds to wait for a server's next bytes (10)."),
        "retries": Field(Number("a number of retries", 0, 100), "How often an image is asked for again (1)."),
        "resize_mode": Field(
            Choice("a resize mode", RESIZE_MODES),
            "How img2dataset resizes images; no, the default, keeps their very bytes.",
        ),
        "image_size": Field(Number("a number of pixels", 1, 65536), "The size that images are resized to."),
        "shard_size": Field(
            Number("a number of rows", 1, 1_000_000),
            "How many rows of the list make a shard; by default 100 to 10,000, as the list is long.",
        ),
        "min_success": Field(Share("a number from 0 to 1"), "The share of the list that must come (0.7)."),
    },
    needs={"image_size": "resize_mode"},
)

_SPLITS = MapOf(
    "a mapping from split to files",
    _WORD_TEXT,
    ListOf("a path or a list of paths", _PATH, least=1, alone=True),
)
_MEDIA_FOLDER = Text("a relative folder, or '.'", _media_fault, rf"^\.$|{_SAFE_PATH}")
_MEDIA = Either("a folder, or a mapping from split to folder", (_MEDIA_FOLDER, MapOf("", _WORD_TEXT, _MEDIA_FOLDER)))

_READER = Choice("a reader of samples", SAMPLE_READERS)
_SAMPLES = Either("a reader of samples, or a mapping from split to reader", (_READER, MapOf("", _WORD_TEXT, _READER)))

_READING = {
    "splits": Field(_SPLITS, "Which annotation files make up each split."),
    "media": Field(_MEDIA, "The folder of the images, sounds or films, for all splits or for each."),
    "samples": Field(_SAMPLES, "Which reader understands the annotations, of all splits or of each."),
}

_CLASS_NAME = Text("a class's name", _class_fault, "^[A-Za-z_][A-Za-z0-9_.]*(:[A-Za-z_][A-Za-z0-9_.]*)?$")
_DEVICE = Either("a device's name or number", (Number("a device's number"), Text("a device's name")))

_LOAD = Record(
    "load",
    {
        "dtype": Field(Choice("a dtype", DTYPES), "The type of the weights in memory."),
        "quantize": Field(Choice("a quantisation", QUANTIZATIONS), "How weights are made smaller."),
        "device_map": Field(
            Either(
                "a text such as auto, or a mapping from module to device",
                (Text("a device map's name"), MapOf("", Text("a module's name", empty=True), _DEVICE)),
            ),
            "Where the parts of the model go.",
        ),
        "max_memory": Field(
            MapOf("a mapping from device to a size such as 10GiB", Text("a device's name or number"), Text("a size")),
            "How much of each device's memory a device map may fill.",
        ),
        "backend": Field(_WORD_TEXT, "Which library loads the model."),
        "task": Field(_WORD_TEXT, "What the model is for."),
        "class": Field(
            _CLASS_NAME,
            "Which class of the backend loads it; for the torch backend package.module:Class, a torch.nn.Module, or a "
            "class method of one that makes it (package.module:Class.method).",
        ),
        "args": Field(ListOf("a list of values", Plain("a value")), "What the torch backend's class is made with."),
        "kwargs": Field(
            MapOf("a mapping from name to value", _WORD_TEXT, Plain("a value")),
            "What the torch backend's class is made with, by name.",
        ),
        "weights": Field(_PATH, "Which file of the asset has the torch backend's weights, where several could."),
        "key": Field(
            Text("a key"), "Under which key of its checkpoint the torch backend's weights are, such as model."
        ),
        "prefix": Field(
            Text("the beginning of a name"),
            "What the names of the torch backend's weights begin with; only these are taken, without it (module.).",
        ),
        "lavis": Field(
            Record(
                "load.lavis",
                {
                    "name": Field(_WORD_TEXT, "LAVIS's model name.", required=True),
                    "model_type": Field(_WORD_TEXT, "LAVIS's model type.", required=True),
                },
            ),
            "What LAVIS calls the model.",
        ),
    },
)

_DATA_FILE = Text("a path or a pattern in the repo", _data_files_fault, _DATA_FILES_PATTERN)
_DATA_FILES = ListOf("a pattern or a list of patterns", _DATA_FILE, least=1, alone=True)
_SPLIT_FILES = MapOf("a mapping from split to patterns", _WORD_TEXT, _DATA_FILES)
_LOAD_DATASET = Record(
    "load",
    {
        "config_name": Field(Text("a configuration's name"), "Which of a hub dataset's configurations."),
        "data_dir": Field(_PATH, "The folder of the repo where its data are."),
        "data_files": Field(
            Either(
                "a pattern, a list of patterns, or a mapping from split to patterns",
                (_DATA_FILE, ListOf("a list of patterns", _DATA_FILE, least=1), _SPLIT_FILES),
            ),
            "Which files of the repo are its data, for all or for each split.",
        ),
    },
)
_PREPARE = Record(
    "prepare",
    {
        "format": Field(
            Choice("a format", PREPARED_FORMATS),
            "What the weights are converted to once they are pulled.",
            required=True,
        ),
        "dtype": Field(
            Choice("a dtype", DTYPES), "The type that floating-point weights are converted to; by default as they are."
        ),
    },
)

_HUB_ONLY = ("revision", "allow_patterns", "ignore_patterns", "transport")
_COMMON = {
    "hub": Field(
        Either("a repo, or {repo: ..., endpoint: ...}", (_REPO, _HUB)),
        "The hub repo that publishes the asset.",
    ),
    "revision": Field(
        Text("a branch, tag or commit", path_fault, _SAFE_PATH),
        "The hub repo's branch, tag or commit; by default main.",
    ),
    "allow_patterns": Field(_PATTERNS, "Take only the repo's files that match one of these."),
    "ignore_patterns": Field(_PATTERNS, "Leave out the repo's files that match one of these."),
    "transport": Field(
        Choice("a transport", TRANSPORTS),
        "How a hub's files are moved: by snapshot_download, direct, or each as is best for it (auto, the default).",
    ),
    "files": Field(ListOf("a list of files", _FILE, least=1), "The files that make up the asset, each with its URL."),
    "requires": Field(ListOf("a name or a list of names", _NAME, alone=True), "Assets that must be there too."),
    "groups": Field(ListOf("a word or a list of words", _WORD_TEXT, alone=True), "Names for sets of assets."),
    "twins": Field(
        ListOf("a name or a list of names", _NAME, alone=True),
        "Assets that have the same model for the same task in another library's form.",
    ),
    "license": Field(
        Text("a licence", lambda text: line_fault(text, 200)),
        "Its licence, such as apache-2.0; else what the hub says of it when it is locked.",
    ),
    "description": Field(Text("a line of words", lambda text: line_fault(text, 300)), "What it is, in one line."),
    "local_dir": Field(_FOLDER, "A folder where the files stand under their own names."),
    "local_dir_links": Field(Choice("a link style", LINK_STYLES), "How they stand there; else symlink."),
}
_OF_A_FILE = dict.fromkeys(("extract", "strip", "prefix", "keep_archive"), "a file under 'files'")
_NEEDS = dict.fromkeys(_HUB_ONLY, "hub")

MODEL = Record(
    "a model",
    {
        **_COMMON,
        "load": Field(_LOAD, "How the model is loaded."),
        "prepare": Field(_PREPARE, "What is made of its weights once they are pulled."),
    },
    ("hub", "files"),
    _NEEDS,
    {**_OF_A_FILE, **dict.fromkeys((*_READING, "variants", "url_list", "script", "checkout"), "a dataset")},
)
DATASET = Record(
    "a dataset",
    {
        **_COMMON,
        "url_list": Field(_URL_LIST, "A list of images' URLs, fetched into shards by img2dataset."),
        "script": Field(
            Text("the name of a script", _script_fault, _SAFE_PATH),
            "A download script of LAVIS, such as download_coco, or its path in the checkout.",
        ),
        "checkout": Field(_FOLDER, "The folder of LAVIS's git checkout that holds the script."),
        **_READING,
        "variants": Field(
            MapOf("a mapping from name to variant", _WORD_TEXT, Record("a variant", _READING)),
            "Other forms of the dataset, by name.",
        ),
        "load": Field(_LOAD_DATASET, "How the `datasets` library reads a hub dataset that has no `splits`."),
    },
    ("hub", "files", "url_list", "script"),
    {**_NEEDS, "script": "checkout", "checkout": "script"},
    {**_OF_A_FILE, **dict.fromkeys(_URL_LIST.fields, "the url_list"), "prepare": "a model"},
)
SECTIONS = MappingProxyType({"models": "model", "datasets": "dataset"})
MANIFEST = Record(
    "the manifest",
    {
        "version": Field(Number("the number 1", VERSION, VERSION), "The format's version.", required=True),
        "cache_root": Field(_FOLDER, "Where the store is; '~' and $VARIABLES are expanded."),
        "mirrors": Field(
            ListOf("a mirror or a list of mirrors", _MIRROR, alone=True),
            "Where bytes may also be had: folders, http(s) addresses, buckets; asked in order before the origin.",
        ),
        "requires": Field(
            _COMMON["requires"].spec,
            "Assets that are wanted too, and that another manifest or the catalog declares.",
        ),
        "models": Field(MapOf("a mapping from name to model", _NAME, MODEL), "The models, by name."),
        "datasets": Field(MapOf("a mapping from name to dataset", _NAME, DATASET), "The datasets, by name."),
    },
    elsewhere=dict.fromkeys(_COMMON.keys() - {"requires"}, "a model or a dataset"),
)


def json_schema() -> dict[str, Any]:
    """The manifest's format as a JSON Schema, draft 2020-12, so that editors check and complete it."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "assetmgr manifest",
        **_schema(MANIFEST),
    }


def _schema(spec: Spec) -> dict[str, Any]:
    match spec:
        case Text():
            return {"type": "string", "pattern": spec.pattern} | ({} if spec.empty else {"minLength": 1})
        case Choice():
            return {"enum": list(spec.values)}
        case Number():
            if spec.minimum == spec.maximum:
                return {"const": spec.minimum}
            return {"type": "integer", "minimum": spec.minimum, "maximum": spec.maximum}
        case Share():
            return {"type": "number", "minimum": 0, "maximum": 1}
        case Flag():
            return {"type": "boolean"} if len(spec.values) > 1 else {"const": spec.values[0]}
        case ListOf():
            listed = {"type": "array", "items": _schema(spec.item), "minItems": spec.least}
            return {"anyOf": [_schema(spec.item), listed]} if spec.alone else listed
        case MapOf():
            return {
                "type": "object",
                "propertyNames": _schema(spec.key),
                "additionalProperties": _schema(spec.value),
            }
        case Either():
            return {"anyOf": [_schema(option) for option in spec.options]}
        case Plain():
            return {}
        case Record():
            return _record_schema(spec)


def _record_schema(spec: Record) -> dict[str, Any]:
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {
            name: _schema(entry.spec) | ({"description": entry.doc} if entry.doc else {})
            for name, entry in spec.fields.items()
        },
        "additionalProperties": False,
    }
    required = [name for name, entry in spec.fields.items() if entry.required]
    if required:
        schema["required"] = required
    if spec.one_of:
        schema["oneOf"] = [{"required": [name]} for name in spec.one_of]
    if spec.some_of:
        schema["anyOf"] = [{"required": [name]} for name in spec.some_of]
    if spec.needs:
        schema["dependentRequired"] = {name: [other] for name, other in spec.needs.items()}
    return schema
