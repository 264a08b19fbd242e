"""What stays when a file is de-identified. Whatever is not named here goes, by its value representation.

Which values of an attribute that stays may stay is decided in deidentify_values.

The Basic Application Level Confidentiality Profile (PS3.15 Annex E) lists what must go; new attributes join that list
every year. So this is the other way round: free text, names, dates, unknown and private data never stay unless named.
"""

from __future__ import annotations

# Values of people, places and times: they go.
PERSONAL_VRS = {"PN", "LO", "SH", "ST", "LT", "UT", "UC", "UR", "AE", "AS", "UN"}
DATE_VRS = {"DA", "TM", "DT"}
BULK_VRS = {"OB", "OW", "OF", "OD", "OL", "OV", "OB or OW", "US or OW"}

# Text that says how an object was made, not of whom; codes and their meanings are cleaned by deidentify_codes.
TEXT = {
    "SegmentAlgorithmName",
    "AlgorithmName",
    "AlgorithmVersion",
    "AlgorithmParameters",
    "Manufacturer",
    "ManufacturerModelName",
    "SoftwareVersions",
    "ConvolutionKernel",
    "DimensionDescriptionLabel",
    "FrameLabel",
    "RescaleType",
    "ModalityLUTType",
}

# Type 2 in what we write or in common images: they may be empty, not absent.
EMPTIED = {
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "StudyID",
    "ReferringPhysicianName",
    "ContentCreatorName",
    "ContentDescription",
    "PositionReferenceIndicator",
    "PerformedProcedureCodeSequence",
    "ReferencedPerformedProcedureStepSequence",
    "AcquisitionContextSequence",
}

# Type 1, or needed where they are: a dummy stands for them (or the shifted date).
DUMMY_DATES = {
    "ContentDate": "19000101",
    "ContentTime": "000000",
    "AcquisitionDateTime": "19000101000000",
    "FrameAcquisitionDateTime": "19000101000000",
    "FrameReferenceDateTime": "19000101000000",
}

# Sequences of the top level that stay, their items cleaned; all others go.
SEQUENCES = {
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "DimensionOrganizationSequence",
    "DimensionIndexSequence",
    "SegmentSequence",
    "ReferencedSeriesSequence",
    "SourceImageSequence",
    "CurrentRequestedProcedureEvidenceSequence",
    "PertinentOtherEvidenceSequence",
    "CodingSchemeIdentificationSequence",
    "ConceptNameCodeSequence",
    "ContentTemplateSequence",
    "ContentSequence",
    "ModalityLUTSequence",
    "VOILUTSequence",
    "SequenceOfUltrasoundRegions",
    "ViewCodeSequence",
    "ViewModifierCodeSequence",
    "AnatomicRegionSequence",
}

# Of other representations, or inside the sequences that stay; the profile removes them.
REMOVED = {
    "AcquisitionContextSequence",
    "ActualHumanPerformersSequence",
    "AdmittingDiagnosesCodeSequence",
    "AuthorObserverSequence",
    "ConsultingPhysicianIdentificationSequence",
    "ContentCreatorIdentificationCodeSequence",
    "ContributingSourcesSequence",
    "CustodialOrganizationSequence",
    "DigitalSignaturesSequence",
    "EncryptedAttributesSequence",
    "FlowIdentifierSequence",
    "GraphicAnnotationSequence",
    "IconImageSequence",
    "InstanceOriginStatus",
    "InstitutionCodeSequence",
    "InstitutionalDepartmentTypeCodeSequence",
    "IntendedRecipientsOfResultsIdentificationSequence",
    "IssuerOfTheContainerIdentifierSequence",
    "IssuerOfTheSpecimenIdentifierSequence",
    "LensSpecification",
    "MACParametersSequence",
    "ModifiedAttributesSequence",
    "ModifyingDeviceID",
    "NonconformingModifiedAttributesSequence",
    "ObservationDateTime",
    "OperatorIdentificationSequence",
    "OriginalAttributesSequence",
    "ParticipantSequence",
    "PatientSexNeutered",
    "PatientSize",
    "PatientWeight",
    "PerformedStationGeographicLocationCodeSequence",
    "PerformedStationNameCodeSequence",
    "PerformingPhysicianIdentificationSequence",
    "PersonIdentificationCodeSequence",
    "PhysiciansOfRecordIdentificationSequence",
    "PhysiciansReadingStudyIdentificationSequence",
    "PregnancyStatus",
    "PrescriptionNotesSequence",
    "ROICreatorSequence",
    "ROIInterpreterSequence",
    "ReasonForRequestedProcedureCodeSequence",
    "ReasonForTheAttributeModification",
    "ReferencedDigitalSignatureSequence",
    "ReferencedPatientSequence",
    "ReferencedPerformedProcedureStepSequence",
    "ReferencedSOPInstanceMACSequence",
    "ReferencedStudySequence",
    "ReferringPhysicianIdentificationSequence",
    "RequestAttributesSequence",
    "ScheduledHumanPerformersSequence",
    "ScheduledPerformingPhysicianIdentificationSequence",
    "ScheduledStationGeographicLocationCodeSequence",
    "ScheduledStationNameCodeSequence",
    "SmokingStatus",
    "SpecimenPreparationSequence",
    "TransducerIdentificationSequence",
    "UDISequence",
    "VerbalSourceIdentifierCodeSequenceTrial",
    "VerifyingObserverIdentificationCodeSequence",
    "VerifyingObserverSequence",
}

# Copied apart from the walk, by deidentify_frames; the picture, and nothing that stands beside it.
PIXELS = {
    "PixelData",
    "FloatPixelData",
    "DoubleFloatPixelData",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
}

# Lookup tables, whose length is known. An ICC profile has free text in it and goes.
TABLES = {
    "LUTData",
    "RedPaletteColorLookupTableData",
    "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData",
}

# Coded strings of type 1 whose word was not the standard's.
DUMMY_WORDS = {
    "Modality": "OT",
    "ImageType": "DERIVED",
    "FrameType": "DERIVED",
    "ContentLabel": "GROUNDING",
    "PositionerType": "NONE",
}

# Groups of which nothing stays but what is set anew: patient, clinical trial, requests, visits, results, places.
GROUPS = {0x0010, 0x0012, 0x0016, 0x0032, 0x0038, 0x4000, 0x4008, 0x4010, 0xFFFA, 0xFFFC}

# Concepts of SR text that is made by programs: algorithm (TID 4019) and device observer (TID 1004).
SR_TEXT = {
    ("DCM", "111001"),
    ("DCM", "111002"),
    ("DCM", "111003"),
    ("DCM", "122405"),
    ("DCM", "121013"),
    ("DCM", "121014"),
    ("DCM", "121015"),
}
SR_NOTICE = ("DCM", "121106")
SR_SERIAL = ("DCM", "121016")
SR_TRACKING_ID = ("DCM", "112039")
SR_TRACKING_UID = ("DCM", "112040")
