"""The commands about the taxonomy: check, find, add. Heavy imports stand inside them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medreasoner_monai.errors import InputError

if TYPE_CHECKING:
    from medreasoner_monai.task.taxonomy import Category

File = Annotated[
    Path | None,
    typer.Argument(envvar="MEDREASONER_TAXONOMY", help="YAML with your own concepts. Default: the shipped ones alone."),
]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    taxonomy = typer.Typer(
        help="The concepts that can be asked about: check a file of them, find one, add one.\n\n"
        "Your own concepts stand in a YAML file of yours, which is laid over the shipped one where a config has"
        " data.taxonomy: PATH, or where the environment has MEDREASONER_TAXONOMY=PATH.",
        no_args_is_help=True,
    )
    taxonomy.command()(check)
    taxonomy.command()(find)
    taxonomy.command()(add)
    app.add_typer(taxonomy, name="taxonomy")


def check(
    file: File = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of data (or of such folders), whose targets are to be known. May be repeated."),
    ] = None,
) -> None:
    """Check a file of concepts, and whether it knows the targets of a folder of data.

    Each mistake is told by its line: unknown fields, codes with a wrong check digit, names that two concepts share.
    Codes that DICOM does not list are told, too, but are no mistake. A target that resolves to nothing is reported;
    curation keeps it under its own name, coded generically. Exit code 1 if there is a mistake or an unknown target.

    Example: medreasoner taxonomy check ours.yaml

    Example: medreasoner taxonomy check ours.yaml --data masks/
    """
    from medreasoner_monai.task.taxonomy import TAXONOMY, built_from, resolve, use

    built = built_from(file)
    for problem in built.problems:
        typer.secho(str(problem), fg="red", err=True)
    if built.problems:
        typer.secho(f"{len(built.problems)} mistake(s)", err=True)
        raise typer.Exit(1)
    use(file)
    typer.echo(f"{len(built.categories)} concepts in {len(built.super_categories)} super-categories, no mistake")
    for name, code in _unlisted(built.categories.values()):
        typer.echo(f"note: {name}: {code} is not among the codes that DICOM lists; look it up before you rely on it")
    if not data:
        return
    from medreasoner_monai.data.targets import targets_in
    from medreasoner_monai.task.taxonomy_search import search

    known = unknown = 0
    for target in (one for folder in data for one in targets_in(folder)):
        if resolve(target.name, target.source, target.site) is not None:
            known += 1
            continue
        unknown += 1
        near = search(target.name, TAXONOMY.values(), limit=1)
        hint = f"; nearest: {near[0].name}" if near else ""
        count = f" ({target.masks} masks)" if target.masks else ""
        typer.secho(f"unknown: {target.name} in {target.source}{count}{hint}", fg="yellow", err=True)
    typer.echo(f"{known} targets known, {unknown} unknown")
    if unknown:
        typer.echo("add each with `medreasoner taxonomy add`, or its spelling to the labels of the concept it means")
        raise typer.Exit(1)


def find(
    text: Annotated[str, typer.Argument(help="A name or a part of it, a code, or how a source spells it.")],
    file: Annotated[
        Path | None, typer.Option(envvar="MEDREASONER_TAXONOMY", help="Look in this file's concepts, too.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most concepts to show.")] = 5,
) -> None:
    """Find a concept by name, synonym, code or a source's label; misspelt is fine. Exit code 1 if nothing is near.

    Example: medreasoner taxonomy find "hepatic tumour"

    Example: medreasoner taxonomy find 64033007
    """
    from medreasoner_monai.task.taxonomy import TAXONOMY, use
    from medreasoner_monai.task.taxonomy_search import search

    use(file)
    found = search(text, TAXONOMY.values(), limit)
    if not found:
        typer.secho(f"no concept is near {text!r}; `medreasoner taxonomy add` adds one", err=True)
        raise typer.Exit(1)
    typer.echo("\n\n".join(_shown(one) for one in found))


def add(
    name: Annotated[str, typer.Argument(help='Lower case, singular: "psoas muscle".')],
    super_: Annotated[str, typer.Option("--super", help="Super-category, such as Abdomen or Non-Neoplasm.")],
    file: Annotated[
        Path | None, typer.Option(envvar="MEDREASONER_TAXONOMY", help="Your file; made if it is not there.")
    ] = None,
    kind: Annotated[
        str, typer.Option(help="organ, finding (a change in an organ), tissue, fluid, device, region.")
    ] = "organ",
    code: Annotated[
        str | None, typer.Option(help="'10200004 |Liver|' (SNOMED CT). Leave it out if you are not sure of it.")
    ] = None,
    inside: Annotated[
        str | None, typer.Option("--in", help="The organ it lies in: another concept's name, or a code.")
    ] = None,
    modality: Annotated[list[str] | None, typer.Option(help="CT, MRI, X-Ray, Ultrasound… May be repeated.")] = None,
    site: Annotated[list[str] | None, typer.Option(help="abdomen, chest, brain… May be repeated.")] = None,
    synonym: Annotated[list[str] | None, typer.Option(help="Another name for exactly this. May be repeated.")] = None,
    giveaway: Annotated[
        list[str] | None,
        typer.Option(help="Stem that a question about it must not hold. Default: its words. May be repeated."),
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(help="How a source spells it: SOURCE=LABEL. May be repeated.")
    ] = None,
    sides: Annotated[bool, typer.Option(help="There is a left and a right one.")] = False,
    many_parts: Annotated[bool, typer.Option(help="Usually many separate parts, such as nuclei or teeth.")] = False,
) -> None:
    """Add a concept to your file, if the file is still in order with it.

    Example: medreasoner taxonomy add "psoas abscess" --super Non-Neoplasm --kind finding --modality CT --file ours.yaml
    """
    from medreasoner_monai.task.taxonomy_add import add_entry

    if file is None:
        raise InputError("which file? Give --file ours.yaml, or set MEDREASONER_TAXONOMY")
    given = {
        "super": super_,
        "kind": kind if kind != "organ" else None,
        "code": code,
        "in": inside,
        "modalities": modality,
        "sites": site,
        "sides": sides or None,
        "parts": "many" if many_parts else None,
        "giveaways": giveaway,
        "synonyms": synonym,
        "labels": _labels(label or []),
    }
    add_entry(file, name, {key: value for key, value in given.items() if value})
    typer.echo(f"{name} is in {file} now; configs use it with data.taxonomy: {file}")


def _labels(given: list[str]) -> dict[str, list[str]]:
    labels: dict[str, list[str]] = {}
    for one in given:
        source, equals, spelled = one.partition("=")
        if not equals or not source or not spelled:
            raise InputError(f"--label {one!r}: SOURCE=LABEL is expected, such as totalsegmentator=iliopsoas_left")
        labels.setdefault(source, []).append(spelled)
    return labels


def _unlisted(categories: Iterable[Category]) -> list[tuple[str, str]]:
    """Concepts whose codes pydicom's copy of PS3.16 does not have, with the code."""
    from pydicom.sr.codedict import Collection

    listed = {s: {c.value for c in Collection(s).concepts.values()} for s in ("SCT", "DCM")}
    found: dict[str, str] = {}
    for one in categories:
        for code in (one.codes.property_type, one.codes.region):
            if code is not None and code.scheme in listed and code.value not in listed[code.scheme]:
                found.setdefault(f"{code.value} |{code.meaning}|", one.name)
    return [(name, code) for code, name in found.items()]


def _shown(one: Category) -> str:
    """A concept as people read it."""
    coded = one.codes
    lines = [one.name, f"  super-category  {one.super_category}"]
    lines.append(f"  coded as        {_code(coded.property_type)}, {coded.property_category.meaning}")
    if coded.region is not None:
        lines.append(f"  in              {_code(coded.region)}")
    if coded.laterality is not None:
        lines.append(f"  side            {_code(coded.laterality)}")
    elif one.sides:
        lines.append(f"  sides           left {one.name}, right {one.name}")
    for title, words in (
        ("synonyms", one.synonyms),
        ("seen in", one.modalities),
        ("sites", one.sites),
        ("not in questions", one.giveaways),
        ("labels", tuple(f"{source}: {', '.join(spelled)}" for source, spelled in one.labels)),
        ("UMLS, RadLex", tuple(i for i in (one.umls, one.radlex) if i)),
    ):
        if words:
            lines.append(f"  {title:<15} {', '.join(words)}")
    if one.many_parts:
        lines.append("  parts           many, reported apart by evaluation")
    return "\n".join(lines)


def _code(code: tuple[str, str, str]) -> str:
    value, scheme, meaning = code
    return f"{scheme} {value} |{meaning}|"
