"""Damage to files: what disks, broken transfers, other programs and hostile people do to them, drawn from a seeded generator.

Every kind of damage is a function of a path and a generator. It changes the file or directory, says in a few words what it did, and raises
:class:`NotApplicableError` where there is nothing that it could change.
"""

import json
import os
import shutil
from pathlib import Path

import h5py
import numpy as np
import zarr
from anndata.io import write_elem

PAGE = 4096
ENCODINGS = (
    "array",
    "csr_matrix",
    "csc_matrix",
    "dataframe",
    "dict",
    "categorical",
    "string-array",
    "string",
    "numeric-scalar",
    "nullable-integer",
    "nullable-boolean",
    "nullable-string-array",
    "rec-array",
    "anndata",
    "raw",
    "null",
    "awkward-array",
    "",
    "nonsense",
)
PLAIN = (
    None,
    True,
    False,
    -1,
    0,
    1,
    3,
    2**31,
    2**63 - 1,
    10**30,
    -(10**30),
    0.5,
    -1.5,
    1e308,
    "",
    "x",
    "-1",
    "9" * 400,
    [],
    {},
    [[]],
    [None],
    ["x"],
    [-1],
    {"x": 1},
    float("nan"),
    float("inf"),
)
INTEGERS = (-1, 0, 1, 2, 127, 128, -128, 10_000, 2**31 - 1, -(2**31), 2**31, 2**62, 2**63 - 1, -(2**63))


class NotApplicableError(Exception):
    """There is nothing here that this kind of damage could change."""


def pick(rng, items):
    """One of several."""
    items = list(items)
    if not items:
        raise NotApplicableError
    return items[int(rng.integers(len(items)))]


def short(value):
    """What a value looks like, in a few characters."""
    text = repr(value).replace("\n", " ")
    return text if len(text) < 60 else f"{text[:57]}…"


# Bytes of one file


def _changed(path, rng, change):
    content = bytearray(path.read_bytes())
    if not content:
        raise NotApplicableError
    what = change(content, rng)
    path.write_bytes(content)
    return f"{path.name}: {what}"


def flip_bit(path, rng):
    def change(content, rng):
        at, bit = int(rng.integers(len(content))), int(rng.integers(8))
        content[at] ^= 1 << bit
        return f"bit {bit} of byte {at} flipped"

    return _changed(path, rng, change)


def flip_bit_near_start(path, rng):
    def change(content, rng):
        at, bit = int(rng.integers(min(len(content), PAGE))), int(rng.integers(8))
        content[at] ^= 1 << bit
        return f"bit {bit} of byte {at} flipped"

    return _changed(path, rng, change)


def flip_bits(path, rng):
    def change(content, rng):
        n = int(rng.integers(2, 200))
        for at in rng.integers(len(content), size=n):
            content[int(at)] ^= 1 << int(rng.integers(8))
        return f"{n} bits flipped"

    return _changed(path, rng, change)


def truncate(path, rng):
    def change(content, rng):
        kept = int(rng.integers(len(content)))
        del content[kept:]
        return f"cut after {kept} bytes"

    return _changed(path, rng, change)


def truncate_tail(path, rng):
    def change(content, rng):
        lost = int(rng.integers(1, min(len(content), 64) + 1))
        del content[-lost:]
        return f"last {lost} bytes lost"

    return _changed(path, rng, change)


def empty(path, rng):
    return _changed(path, rng, lambda content, _: (content.clear(), "emptied")[1])


def zero_page(path, rng):
    def change(content, rng):
        start = int(rng.integers(-(-len(content) // PAGE))) * PAGE
        stop = min(start + PAGE, len(content))
        if not any(content[start:stop]):
            raise NotApplicableError
        content[start:stop] = bytes(stop - start)
        return f"bytes {start} to {stop} zeroed"

    return _changed(path, rng, change)


def swap_pages(path, rng):
    def change(content, rng):
        n = len(content) // 512
        if n < 2:
            raise NotApplicableError
        a, b = (int(i) * 512 for i in rng.choice(n, size=2, replace=False))
        content[a : a + 512], content[b : b + 512] = content[b : b + 512], content[a : a + 512]
        return f"512 bytes at {a} and {b} swapped"

    return _changed(path, rng, change)


def random_bytes(path, rng):
    def change(content, rng):
        start = int(rng.integers(len(content)))
        stop = min(len(content), start + int(rng.integers(1, 600)))
        content[start:stop] = rng.bytes(stop - start)
        return f"bytes {start} to {stop} random"

    return _changed(path, rng, change)


def append(path, rng):
    def change(content, rng):
        n = int(rng.integers(1, 5000))
        content.extend(rng.bytes(n))
        return f"{n} random bytes appended"

    return _changed(path, rng, change)


BYTES = (
    flip_bit,
    flip_bit,
    flip_bit,
    flip_bit_near_start,
    flip_bits,
    truncate,
    truncate_tail,
    empty,
    zero_page,
    swap_pages,
    random_bytes,
    append,
)


# Files of a directory


def _files(path):
    return sorted(each for each in path.rglob("*") if each.is_file() and not each.is_symlink())


def bytes_of_a_file(path, rng):
    """Damage the bytes of one file of a directory, each as likely as another."""
    return f"{pick(rng, BYTES)(pick(rng, _files(path)), rng)} in `{path.name}`"


def lost_file(path, rng):
    chosen = pick(rng, _files(path))
    chosen.unlink()
    return f"`{chosen.relative_to(path)}` lost"


def swapped_files(path, rng):
    files = _files(path)
    if len(files) < 2:
        raise NotApplicableError
    a, b = (files[int(i)] for i in rng.choice(len(files), size=2, replace=False))
    first, second = a.read_bytes(), b.read_bytes()
    a.write_bytes(second)
    b.write_bytes(first)
    return f"`{a.relative_to(path)}` and `{b.relative_to(path)}` swapped"


def copied_file(path, rng):
    files = _files(path)
    if len(files) < 2:
        raise NotApplicableError
    a, b = (files[int(i)] for i in rng.choice(len(files), size=2, replace=False))
    shutil.copyfile(a, b)
    return f"`{b.relative_to(path)}` replaced by `{a.relative_to(path)}`"


def special_file(path, rng):
    """Something that is not a regular file, in the place of a file or of the whole."""
    chosen = path if path.is_file() else pick(rng, _files(path))
    kind = pick(rng, ("fifo", "directory", "/dev/zero", "/dev/null", "itself", "nothing"))
    chosen.unlink()
    if kind == "fifo":
        os.mkfifo(chosen)
    elif kind == "directory":
        chosen.mkdir()
    else:
        chosen.symlink_to({"itself": chosen.name, "nothing": "nothing-there"}.get(kind, kind))
    return f"`{chosen.name}` is {kind}"


def lost_folder(path, rng):
    chosen = pick(rng, sorted(each for each in path.rglob("*") if each.is_dir()))
    shutil.rmtree(chosen)
    return f"`{chosen.relative_to(path)}/` lost"


def endless_folder(path, rng):
    """A link that leads back up."""
    chosen = pick(rng, sorted(each for each in path.rglob("*") if each.is_dir()))
    (chosen / "loop").symlink_to(path.resolve(), target_is_directory=True)
    return f"`{chosen.relative_to(path)}/loop` leads to the top"


DIRECTORY = (bytes_of_a_file, bytes_of_a_file, bytes_of_a_file, lost_file, swapped_files, copied_file, special_file, lost_folder)


# JSON


def _places(value, path=()):
    yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in list(children)[:2000]:
        yield from _places(each, (*path, key))


def _at(values, path):
    for key in path:
        values = values[key]
    return values


def _new_value(value, rng):
    kind = int(rng.integers(4))
    if isinstance(value, bool) and kind:
        return not value
    if isinstance(value, int) and kind:
        return pick(rng, (value + 1, value - 1, -value, value * 1000, 0, 10**12, value ^ (1 << int(rng.integers(24)))))
    if isinstance(value, float) and kind:
        return pick(rng, (-value, value * 2, 0.0, float("nan"), float("inf"), 1e300, value + 1e-6))
    if isinstance(value, str) and kind and value:
        at = int(rng.integers(len(value)))
        return pick(
            rng, (value[:at] + chr(ord(value[at]) ^ 1) + value[at + 1 :], value[:at], value + " ", value.upper(), value * 3, "\x00")
        )
    if isinstance(value, list) and kind and len(value) > 1:
        order = rng.permutation(len(value))
        return pick(rng, (value[::-1], value[:-1], [*value, value[0]], [value[int(i)] for i in order], [value[0]] * len(value), []))
    return pick(rng, PLAIN)


def edit_json(path, rng):
    """Change one value of a JSON file, anywhere: large lists of the same kind are as likely as a single value beside them."""
    chosen = path if path.is_file() else pick(rng, [each for each in _files(path) if _is_json(each)])
    try:
        values = json.loads(chosen.read_text(encoding="utf-8"))
    except ValueError as error:
        raise NotApplicableError from error
    places = list(_places(values))
    kinds = sorted({tuple(key for key in place if isinstance(key, str)) for place in places})
    kind = pick(rng, kinds)
    place = pick(rng, [place for place in places if tuple(key for key in place if isinstance(key, str)) == kind])
    if not place:
        values, what = pick(rng, PLAIN), "is something else"
    else:
        parent, key = _at(values, place[:-1]), place[-1]
        match int(rng.integers(6)):
            case 0:
                del parent[key]
                what = "lost"
            case 1 if isinstance(parent, dict):
                other = pick(rng, parent)
                parent[key], parent[other] = parent[other], parent[key]
                what = f"swapped with {other!r}"
            case _:
                before = parent[key]
                parent[key] = _new_value(before, rng)
                what = f"{short(before)} → {short(parent[key])}"
    text = json.dumps(values, indent=1, ensure_ascii=False)
    if rng.random() < 0.02:
        text = text.replace("{", '{"deep": ' + "[" * 100_000 + "]" * 100_000 + ",", 1)
        what += ", and very deep"
    chosen.write_text(text, encoding="utf-8")
    return f"{chosen.name}: {'/'.join(map(str, place))} {what}"


def _is_json(path):
    return path.suffix == ".json" or path.name in {".zarray", ".zattrs", ".zgroup", ".zmetadata"}


# Safetensors


def edit_header(path, rng):
    """Change the header of a safetensors file: shapes, types, offsets, names."""
    chosen = path if path.is_file() else pick(rng, [each for each in _files(path) if each.suffix == ".safetensors"])
    content = chosen.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    place = pick(rng, [place for place in _places(header) if place])
    parent = _at(header, place[:-1])
    before = parent[place[-1]]
    parent[place[-1]] = pick(rng, ("F64", "I64", "U8")) if place[-1] == "dtype" else _new_value(before, rng)
    changed = json.dumps(header).encode()
    length = len(changed) if rng.random() < 0.9 else int(pick(rng, (0, 2**40, 2**63, len(changed) - 1)))
    chosen.write_bytes(length.to_bytes(8, "little") + changed + content[8 + size :])
    return f"{chosen.name}: header {'/'.join(map(str, place))}: {short(before)} → {short(parent[place[-1]])}, length {length}"


def edit_tensor(path, rng):
    """Change one number of a tensor, and nothing of the header."""
    chosen = path if path.is_file() else pick(rng, [each for each in _files(path) if each.suffix == ".safetensors"])
    content = bytearray(chosen.read_bytes())
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    name = pick(rng, sorted(each for each in header if each != "__metadata__"))
    start, stop = header[name]["data_offsets"]
    kind = {"F32": np.float32, "F64": np.float64, "I64": np.int64, "I32": np.int32, "U8": np.uint8, "BOOL": np.bool_}
    values = np.frombuffer(content, dtype=kind[header[name]["dtype"]], count=-1, offset=8 + size)[:0]
    values = np.frombuffer(bytes(content[8 + size + start : 8 + size + stop]), dtype=kind[header[name]["dtype"]]).copy()
    what = _change_element(values, rng)
    content[8 + size + start : 8 + size + stop] = values.tobytes()
    chosen.write_bytes(content)
    return f"{chosen.name}: {name} {what}"


# What is in HDF5 and Zarr


def _change_element(values, rng):
    """Change one element of an array of any type, in place."""
    if not values.size:
        raise NotApplicableError
    flat = values.reshape(-1)
    at = int(rng.integers(flat.size))
    before = flat[at]
    kind = values.dtype.kind
    if kind in "iu":
        if rng.random() < 0.5:
            bits = flat[at : at + 1].copy()
            bits.view(np.uint8)[int(rng.integers(values.dtype.itemsize))] ^= np.uint8(1 << int(rng.integers(8)))
            flat[at] = bits[0]
        else:
            limits = np.iinfo(values.dtype)
            near = (flat[at - 1] if at else 0, int(before) + 1, int(before) - 1, values.size, limits.min, limits.max)
            flat[at] = np.clip(int(pick(rng, (*INTEGERS, *near))), limits.min, limits.max)
    elif kind == "f":
        if rng.random() < 0.6:
            bits = flat[at : at + 1].copy()
            bits.view(np.uint8)[int(rng.integers(values.dtype.itemsize))] ^= np.uint8(1 << int(rng.integers(8)))
            flat[at] = bits[0]
        else:
            flat[at] = pick(rng, (np.nan, np.inf, -np.inf, -1, 0, 0.5, 1e30, -1e30))
    elif kind == "b":
        flat[at] = not before
    else:
        flat[at] = pick(rng, ("", "x", "nan", "é" * 300, str(flat[at - 1]), "a\x01b", "=1+1", "B cell"))
    return f"[{at}]: {short(before)} → {short(flat[at])}"


def _groups(root):
    yield root
    for name in sorted(root):
        element = root[name]
        if hasattr(element, "keys"):
            yield from _groups(element)


def _elements(root):
    """All groups and arrays below a root, with their parents and names."""
    for group in list(_groups(root)):
        for name in sorted(group):
            yield group, name


def _is_array(element):
    return not hasattr(element, "keys")


def _an_array(root, rng, *, sized=True):
    """An array; those of the matrix, of which there are few and which matter most, half of the time."""
    arrays = [(group, name) for group, name in _elements(root) if _is_array(group[name]) and (not sized or group[name].shape)]
    of_matrix = [(group, name) for group, name in arrays if f"{group.name}/{name}".lstrip("/").split("/")[0] in {"X", "raw"}]
    return pick(rng, of_matrix if of_matrix and rng.random() < 0.5 else arrays)


def _values(array):
    if isinstance(array, h5py.Dataset) and h5py.check_string_dtype(array.dtype):
        return array.asstr()[...]
    return np.asarray(array[...])


def _where(group, name):
    return f"{group.name}/{name}".replace("//", "/").lstrip("/")


def _replaced(group, name, values):
    """Put other values in the place of an array, with the attributes that it had."""
    attributes = dict(group[name].attrs)
    del group[name]
    if isinstance(group, h5py.Group):
        values = values.astype(h5py.string_dtype()) if values.dtype.kind in "OUT" else values
        group.create_dataset(name, data=values)
    elif values.dtype.kind in "OUT":
        write_elem(group, name, values.astype(object))
    else:
        group.create_array(name, data=values)
    group[name].attrs.update(attributes)


def change_element(root, rng):
    group, name = _an_array(root, rng)
    values = np.array(_values(group[name]))
    what = _change_element(values, rng)
    group[name][...] = values
    return f"{_where(group, name)}{what}"


def change_many_elements(root, rng):
    group, name = _an_array(root, rng)
    values = np.array(_values(group[name]))
    if not values.size:
        raise NotApplicableError
    flat = values.reshape(-1)
    match int(rng.integers(5)):
        case 0:
            flat[:] = flat[::-1].copy()
            what = "reversed"
        case 1:
            start = int(rng.integers(flat.size))
            flat[start:] = flat[0] if values.dtype.kind in "OUT" else 0
            what = f"[{start}:] zero"
        case 2:
            flat[:] = np.roll(flat, 1)
            what = "moved by one"
        case 3:
            flat[:] = flat[0]
            what = "all like the first"
        case _:
            flat[:] = rng.permutation(flat)
            what = "in another order"
    group[name][...] = values
    return f"{_where(group, name)} {what}"


def change_shape(root, rng):
    group, name = _an_array(root, rng, sized=False)
    values = np.array(_values(group[name]))
    changes = {
        "one row less": lambda: values[:-1],
        "one row more": lambda: np.concatenate([values, values[-1:]]),
        "one column less": lambda: values[..., :-1],
        "one dimension more": lambda: values[..., None],
        "flat": lambda: values.reshape(-1)[: values.size],
        "a scalar": lambda: values.reshape(-1)[0],
        "empty": lambda: values[:0],
        "twice": lambda: np.concatenate([values, values]),
        "transposed": lambda: values.T,
    }
    how = pick(rng, changes)
    changed = np.asarray(changes[how]())
    if changed.shape == values.shape:
        raise NotApplicableError
    _replaced(group, name, changed)
    return f"{_where(group, name)} {how}"


def change_type(root, rng):
    group, name = _an_array(root, rng, sized=False)
    values = np.array(_values(group[name]))
    kind = pick(rng, ("i1", "u1", "i4", "u8", "i8", "f2", "f4", "f8", "c8", "bool", "str", ">i4", ">f4"))
    if kind == "str":
        changed = values.astype(str).astype(object)
    elif values.dtype.kind in "OUT":
        changed = np.zeros(values.shape, dtype=kind)
    else:
        with np.errstate(all="ignore"):
            changed = values.astype(kind)
    if changed.dtype == values.dtype:
        raise NotApplicableError
    _replaced(group, name, changed)
    return f"{_where(group, name)}: {values.dtype} → {kind}"


def lose_element(root, rng):
    group, name = pick(rng, _elements(root))
    del group[name]
    return f"{_where(group, name)} lost"


def rename_element(root, rng):
    group, name = pick(rng, _elements(root))
    if isinstance(group, h5py.Group):
        group.move(name, f"{name}2")
    else:
        store = Path(str(group.store_path).removeprefix("file://"))
        (store / name).rename(store / f"{name}2")
    return f"{_where(group, name)} renamed"


def swap_elements(root, rng):
    elements = list(_elements(root))
    (first, a), (second, b) = pick(rng, elements), pick(rng, elements)
    if (first.name, a) == (second.name, b) or any(
        _where(*one).startswith(_where(*other) + "/") for one, other in (((first, a), (second, b)), ((second, b), (first, a)))
    ):
        raise NotApplicableError
    if isinstance(root, h5py.Group):
        first.move(a, "moved-away")
        root.move(f"{second.name}/{b}", f"{first.name}/{a}")
        root.move(f"{first.name}/moved-away", f"{second.name}/{b}")
    else:
        one, other = (Path(str(group.store_path).removeprefix("file://")) / name for group, name in ((first, a), (second, b)))
        aside = one.with_name("moved-away")
        one.rename(aside)
        other.rename(one)
        aside.rename(other)
    return f"{_where(first, a)} and {_where(second, b)} swapped"


def another_kind(root, rng):
    """A group in the place of an array, or an array in that of a group."""
    group, name = pick(rng, _elements(root))
    was_array = _is_array(group[name])
    attributes = dict(group[name].attrs)
    del group[name]
    if was_array:
        group.create_group(name)
    elif isinstance(group, h5py.Group):
        group.create_dataset(name, data=np.arange(3))
    else:
        group.create_array(name, data=np.arange(3))
    if rng.random() < 0.5:
        group[name].attrs.update(attributes)
    return f"{_where(group, name)} is {'a group' if was_array else 'an array'}"


def change_attribute(root, rng):
    group, name = pick(rng, [(None, ""), *_elements(root)])
    element = root if group is None else group[name]
    key = pick(rng, sorted(element.attrs))
    before = element.attrs[key]
    where = f"{element.name}@{key}"
    match int(rng.integers(5)):
        case 0:
            del element.attrs[key]
            return f"{where} lost"
        case 1 if key == "encoding-type":
            after = pick(rng, [encoding for encoding in ENCODINGS if encoding != before])
        case 2 if np.ndim(before) and len(before):
            after = _changed_list(before, rng)
        case 3 if isinstance(root, h5py.Group):
            after = pick(
                rng, (h5py.Empty("f4"), b"bytes", b"\xff\xfe", np.bytes_(str(before).encode()), np.void(b"x"), np.ones((2, 2)))
            )
        case _:
            after = pick(
                rng,
                (*PLAIN, *ENCODINGS) if not isinstance(root, h5py.Group) else (0, -1, 3.5, True, "x", "", "9.9.9", [1, 2], 2**62),
            )
    element.attrs[key] = after
    return f"{where}: {short(before)} → {short(after)}"


def _changed_list(before, rng):
    values = list(before)
    at = int(rng.integers(len(values)))
    if isinstance(values[at], str):
        return pick(
            rng,
            (values[:-1], [*values, "nothing"], values[::-1], [*values, values[0]], [*values[:at], "nothing", *values[at + 1 :]]),
        )
    changed = [int(value) for value in values]
    changed[at] = int(
        pick(
            rng,
            (
                changed[at] + 1,
                changed[at] - 1,
                0,
                -1,
                changed[at] * 2,
                2**31,
                2**40,
                2**62,
                changed[at] ^ (1 << int(rng.integers(40))),
            ),
        )
    )
    return pick(rng, (changed, changed, changed, changed[::-1], changed[:1], [*changed, 1]))


STRUCTURE = (
    change_element,
    change_element,
    change_element,
    change_element,
    change_many_elements,
    change_shape,
    change_shape,
    change_type,
    lose_element,
    rename_element,
    swap_elements,
    another_kind,
    change_attribute,
    change_attribute,
    change_attribute,
)


def link_elsewhere(root, rng):
    """In HDF5: a soft or external link, or one that leads in a circle, in the place of something or beside it."""
    group, name = pick(rng, _elements(root))
    links = {
        "a link to nothing": lambda: h5py.SoftLink("/nothing/there"),
        "a link to itself": lambda: h5py.SoftLink(_where(group, name).join(("/", ""))),
        "a link to the top": lambda: h5py.SoftLink("/"),
        "a link to another object": lambda: h5py.SoftLink("/obs"),
        "another file": lambda: h5py.ExternalLink("neighbour.h5", "/"),
        "no file": lambda: h5py.ExternalLink("nothing.h5", "/x"),
        "no HDF5": lambda: h5py.ExternalLink("/etc/passwd", "/"),
        "a hard link to the top": lambda: root["/"],
        "a hard link to its parent": lambda: group,
    }
    how = pick(rng, links)
    if rng.random() < 0.6:
        link = links[how]()
        del group[name]
        group[name] = link
    else:
        group["linked"] = links[how]()
        name = "linked"
    return f"{_where(group, name)} is {how}"


def external_storage(root, rng):
    """In HDF5: an array whose bytes are those of another file."""
    group, name = _an_array(root, rng)
    before = group[name]
    if before.dtype.kind not in "iuf" or not before.size:
        raise NotApplicableError
    shape, dtype, attributes = before.shape, before.dtype, dict(before.attrs)
    del group[name]
    group.create_dataset(name, shape=shape, dtype=dtype, external=[("neighbour.h5", 0, h5py.h5f.UNLIMITED)])
    group[name].attrs.update(attributes)
    return f"{_where(group, name)} lies in another file"


def damage_h5(path, rng):
    """Change what is in an HDF5 file, so that HDF5 itself can still read it."""
    with h5py.File(path, "r+") as root:
        return pick(rng, (*STRUCTURE, link_elsewhere, link_elsewhere, external_storage))(root, rng)


def damage_zarr(path, rng):
    """Change what is in a Zarr store, so that Zarr itself can still read it; with metadata gathered again or as they were."""
    root = zarr.open_group(str(path), mode="r+", use_consolidated=False)
    what = pick(rng, STRUCTURE)(root, rng)
    if rng.random() < 0.5:
        zarr.consolidate_metadata(str(path))
        what += ", consolidated"
    return what


def zarr_chunk(path, rng):
    """Damage, lose or exchange a chunk."""
    chunks = [each for each in _files(path) if not _is_json(each)]
    chosen = pick(rng, chunks)
    match int(rng.integers(4)):
        case 0:
            chosen.unlink()
            return f"chunk `{chosen.relative_to(path)}` lost"
        case 1:
            other = pick(rng, chunks)
            shutil.copyfile(other, chosen) if other != chosen else chosen.unlink()
            return f"chunk `{chosen.relative_to(path)}` is `{other.relative_to(path)}`"
        case _:
            return f"chunk `{chosen.parent.relative_to(path)}/{pick(rng, BYTES)(chosen, rng)}`"


H5 = (*BYTES, *[damage_h5] * 24, special_file)
ZARR = (*DIRECTORY, endless_folder, *[zarr_chunk] * 6, *[edit_json] * 6, *[damage_zarr] * 14)
MODEL = (*DIRECTORY, *[edit_json] * 10, edit_header, edit_tensor)
STORE = (*DIRECTORY, *[zarr_chunk] * 4, *[edit_json] * 8)


def damage(path, kinds, rng, *, attempts=50):
    """Damage a file or directory in one of several ways, and say how.

    Parameters
    ----------
    path
        What to damage.
    kinds
        Functions of this module.
    rng
        Decides all.
    attempts
        How many kinds are tried where they do not apply.
    """
    for _ in range(attempts):
        kind = pick(rng, kinds)
        try:
            return f"{kind.__name__}: {kind(path, rng)}"
        except NotApplicableError:
            continue
        except (ValueError, TypeError, KeyError, IndexError, OSError, RuntimeError, OverflowError, AttributeError) as error:
            # a library refused to write what is wrong; what it has done until then is damage as well
            return f"{kind.__name__}: stopped by {type(error).__name__} {short(str(error))}"
    raise NotApplicableError(f"nothing in `{path}` could be damaged")
