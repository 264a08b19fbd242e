"""What writing SEG and SR costs, against the same objects made by highdicom alone; both in one process, side by side.

    python -m benchmarks.dicom_out [--runs N] [--slices 3 --slices 100]

A made CT of 512 x 512 with three findings that share no pixel. Both sides write the same masks as three segments, and a
TID 1500 report with an image library and a measurement group a finding: codes, algorithm, eight measurements, two
evaluations, question, trace, box, points, the segment and its source images. highdicom is used as its documentation
shows; its measurements are given to it, while ours are measured within the time, from pixels read back. Run by run one
side follows the other, so that a machine that is busy for a while slows both.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

from benchmarks.made_ct import write_ct
from medreasoner_monai.dicom.measures import Measures, measure
from medreasoner_monai.dicom.report import build_report
from medreasoner_monai.dicom.saving import save
from medreasoner_monai.dicom.seg import build_seg
from medreasoner_monai.dicom.series import Series, choose_series
from medreasoner_monai.task.answer import Grounding
from medreasoner_monai.task.findings import Engine, Finding, Origin, SliceResult
from medreasoner_monai.task.geometry import Box, Frame, Points
from medreasoner_monai.task.taxonomy import codes_for

SIDE = 512
ORIGIN = Origin(Engine("starter", "a1" * 32), Engine("classical", "b2" * 32), "c3" * 32, "0.1.0", "d4" * 32, "e5" * 32)
PARAMETERS = [f"{name} digest: {digest}" for name, digest in ORIGIN.digests.items()]
TRACE = "A large, bright, even structure on the left side of the image, below the right lung. " * 4


def make_series(folder: Path, slices: int) -> Series:
    """A CT of noise, 2.5 mm apart."""
    rng = np.random.default_rng(0)
    write_ct(folder, (rng.integers(900, 1200, (SIDE, SIDE), dtype=np.int16) for _ in range(slices)), gap=2.5)
    return choose_series(folder)


def make_findings(slices: int) -> list[Finding]:
    """Three ellipsoids side by side, through all slices."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    frame = Frame(SIDE, SIDE, "dicom")
    findings = []
    for number, name in enumerate(("liver", "spleen", "left kidney")):
        centre = 110 + 140 * number
        grounding = Grounding(
            TRACE,
            Box(centre - 60, 190, centre + 60, 310, frame),
            Points((centre - 20, 240), (centre + 20, 260), frame),
        )
        results = []
        for i in range(slices):
            radius = 60 * np.sqrt(max(0.05, 1 - ((i - slices / 2) / slices) ** 2 * 3))
            mask = (columns - centre) ** 2 + ((rows - 250) * 0.8) ** 2 < radius**2
            results.append(SliceResult(i, grounding, "", mask, 0.1, confidence=0.8))
        question = "Which organ filters the blood that comes from the gut?"
        uid = str(generate_uid(prefix=None))
        findings.append(Finding(question, tuple(results), slices // 2, uid, codes_for(name), "given"))
    return findings


def ours(series: Series, findings: list[Finding], folder: Path) -> None:
    """What a user of this package calls."""
    seg = build_seg(series, findings, ORIGIN)
    save(seg, folder / "seg.dcm")
    save(build_report(series, findings, ORIGIN, seg=seg), folder / "sr.dcm")


def alone(series: Series, findings: list[Finding], measured: list[Measures], folder: Path) -> None:
    """The same objects by highdicom."""
    labels = np.zeros(series.shape, dtype=np.uint8)  # the faster of the two ways that highdicom takes segments
    for number, finding in enumerate(findings, 1):
        for index, mask in finding.marked.items():
            labels[index][mask] = number
    seg = plain_seg(series, findings, labels)
    seg.save_as(folder / "seg.dcm", enforce_file_format=True)
    report = plain_report(series, findings, measured, seg)
    report.save_as(folder / "sr.dcm", enforce_file_format=True)


def plain_seg(series: Series, findings: list[Finding], labels: NDArray[np.uint8]) -> hd.seg.Segmentation:
    """One segment a finding."""
    algorithm = hd.AlgorithmIdentificationSequence(
        name="benchmark", family=codes.DCM.ArtificialIntelligence, version="1", parameters=ORIGIN.digests
    )
    descriptions = []
    for number, finding in enumerate(findings, 1):
        assert finding.codes is not None
        descriptions.append(
            hd.seg.SegmentDescription(
                segment_number=number,
                segment_label=finding.codes.label,
                segmented_property_category=hd.sr.CodedConcept(*finding.codes.property_category),
                segmented_property_type=hd.sr.CodedConcept(*finding.codes.property_type),
                algorithm_type="AUTOMATIC",
                algorithm_identification=algorithm,
                tracking_uid=finding.tracking_uid,
                tracking_id=finding.codes.label,
            )
        )
    return hd.seg.Segmentation(
        source_images=list(series.headers),
        pixel_array=labels,
        segmentation_type="BINARY",
        segment_descriptions=descriptions,
        series_instance_uid=hd.UID(),
        series_number=1000,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="benchmark",
        manufacturer_model_name="benchmark",
        software_versions="1",
        device_serial_number="1",
    )


def plain_report(
    series: Series, findings: list[Finding], measured: list[Measures], seg: hd.seg.Segmentation
) -> hd.sr.ComprehensiveSR:
    """TID 1500 with a volumetric group a finding."""
    headers = list(series.headers)
    groups = [plain_group(headers, f, m, seg, i) for i, (f, m) in enumerate(zip(findings, measured, strict=True), 1)]
    device = hd.sr.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=hd.sr.DeviceObserverIdentifyingAttributes(
            uid=hd.UID(), name="benchmark", manufacturer_name="benchmark", model_name="1", serial_number="1"
        ),
    )
    content = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_device_context=device),
        procedure_reported=codes.LN.CTUnspecifiedBodyRegion,
        imaging_measurements=groups,
        referenced_images=headers,
    )
    return hd.sr.ComprehensiveSR(
        evidence=[*headers, seg],
        content=content[0],
        series_instance_uid=hd.UID(),
        series_number=1001,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="benchmark",
        is_complete=True,
    )


def plain_group(
    headers: list[Dataset], finding: Finding, measures: Measures, seg: hd.seg.Segmentation, number: int
) -> hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations:
    """The group of one finding, with as many items as ours."""
    assert finding.codes is not None and finding.shown.grounding is not None
    key = headers[finding.key]
    on_key = [hd.sr.SourceImageForMeasurement.from_source_image(key)]
    hounsfield, mm = codes.UCUM.HounsfieldUnit, codes.UCUM.Millimeter
    attenuation = codes.DCM.AttenuationCoefficient
    sizes = [
        (codes.SCT.Area, measures.area_mm2, codes.UCUM.SquareMillimeter, None),
        (codes.SCT.LongAxis, measures.long_mm, mm, None),
        (codes.SCT.ShortAxis, measures.short_mm, mm, None),
        (attenuation, measures.mean, hounsfield, codes.SCT.Mean),
        (attenuation, measures.sd, hounsfield, codes.SCT.StandardDeviation),
        (attenuation, measures.minimum, hounsfield, codes.SCT.Minimum),
        (attenuation, measures.maximum, hounsfield, codes.SCT.Maximum),
    ]
    millilitre = hd.sr.CodedConcept("ml", "UCUM", "milliliter")
    volume = hd.sr.Measurement(codes.SCT.Volume, round(measures.volume_ml or 0, 4), millilitre)
    numbers = [
        hd.sr.Measurement(name, round(value or 0, 4), unit, derivation=derivation, referenced_images=on_key)
        for name, value, unit, derivation in sizes
    ]
    private_code = hd.sr.CodedConcept("X", "99BENCHMARK", "A private concept")
    group = hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(finding.tracking_uid, finding.codes.label),
        referenced_segment=hd.sr.ReferencedSegment(
            seg.SOPClassUID,
            seg.SOPInstanceUID,
            number,
            source_images=[
                hd.sr.SourceImageForSegmentation.from_source_image(headers[index]) for index in finding.marked
            ],
        ),
        finding_category=hd.sr.CodedConcept(*finding.codes.property_category),
        finding_type=hd.sr.CodedConcept(*finding.codes.property_type),
        finding_sites=[hd.sr.FindingSite(hd.sr.CodedConcept(*finding.codes.property_type))],
        algorithm_id=hd.sr.AlgorithmIdentification("benchmark", "1", parameters=PARAMETERS),
        measurements=[volume, *numbers],
        qualitative_evaluations=[hd.sr.QualitativeEvaluation(private_code, private_code) for _ in range(2)],
    )
    x1, y1, x2, y2 = finding.shown.grounding.box.xyxy
    box = np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2), (x1, y1)])
    shapes = [("POLYLINE", box), ("MULTIPOINT", np.array(finding.shown.grounding.points.xy))]
    items: list[hd.sr.ContentItem] = [
        hd.sr.TextContentItem(private_code, text, "CONTAINS") for text in (finding.question, TRACE.strip())
    ]
    items.append(
        hd.sr.NumContentItem(codes.DCM.CertaintyOfFinding, 80, codes.UCUM.Percent, relationship_type="CONTAINS")
    )
    for kind, data in shapes:
        item = hd.sr.ScoordContentItem(private_code, kind, data, relationship_type="CONTAINS")
        item.ContentSequence = [
            hd.sr.ImageContentItem(
                codes.SCT.Source, key.SOPClassUID, key.SOPInstanceUID, relationship_type="SELECTED FROM"
            )
        ]
        items.append(item)
    group[0].ContentSequence.extend(items)
    return group


def seconds(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--slices", type=int, action="append")
    args = parser.parse_args()
    print("| slices | ours, s | highdicom alone, s | ratio |\n|---|---|---|---|")
    for slices in args.slices or [3, 100]:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for part in ("ct", "ours", "alone"):
                (folder / part).mkdir()
            series, findings = make_series(folder / "ct", slices), make_findings(slices)
            measured = [measure(series, f) for f in findings]
            times: dict[str, list[float]] = {"ours": [], "alone": []}
            for run in range(args.runs + 1):
                mine = seconds(lambda: ours(series, findings, folder / "ours"))  # noqa: B023
                theirs = seconds(lambda: alone(series, findings, measured, folder / "alone"))  # noqa: B023
                if run:  # the first imports and fills caches
                    times["ours"].append(mine)
                    times["alone"].append(theirs)
            pixels = [dcmread(folder / part / "seg.dcm").PixelData for part in times]
            assert pixels[0] == pixels[1], "both wrote the same masks"
            first, second = (statistics.median(v) for v in times.values())
            print(f"| {slices} | {first:.3f} | {second:.3f} | {first / second:.2f} |")


if __name__ == "__main__":
    main()
