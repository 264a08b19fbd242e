// Shows reports of medreasoner-monai as text beside OHIF's own view of them, which draws boxes and numbers only: question,
// reasoning, reasons for caution, how far the region was looked for, and the notice. For research use only.
//
// An extension of OHIF without a build: add it to `extensions` in app-config.js (docs/viewer.md). OHIF has a viewport for
// the text of a report and takes it for every report but an Imaging Measurement Report. This adds such a report a second
// time under a name of its own, to be opened there: question and answer first, and without what that viewport cannot
// show (images, coordinates) or nobody reads (digests). Nothing is fetched or stored, and the report stays as it is.
(() => {
  const NAME = 'As text: research use only, report';
  const FIRST = ['QUESTION', 'TRACE', 'CAUTION', 'STATUS', 'REASON', 'WHOLE', 'COVERAGE', 'STOP'];
  const UNSHOWN = ['IMAGE', 'SCOORD', 'SCOORD3D', 'UIDREF'];
  const UNREAD = ['111028', '111002']; // image library, algorithm parameters

  const list = sequence => (sequence ? [].concat(sequence) : []);
  const concept = item => list(item.ConceptNameCodeSequence)[0]?.CodeValue;
  const rank = item => (FIRST.indexOf(concept(item)) + FIRST.length + 1) % (FIRST.length + 1);
  const readable = item => !UNSHOWN.includes(item.ValueType) && !UNREAD.includes(concept(item));
  const trimmed = item =>
    item.ContentSequence
      ? {
          ...item,
          ContentSequence: list(item.ContentSequence)
            .filter(readable)
            .map(trimmed)
            .sort((a, b) => rank(a) - rank(b)),
        }
      : item;

  const asText = report => ({
    ...report,
    displaySetInstanceUID: `${report.displaySetInstanceUID}-text`,
    isImagingMeasurementReport: false,
    SeriesDescription: NAME,
    label: NAME,
    instances: report.instances.map(trimmed),
    measurements: [],
    referencedImages: [],
    isLoaded: true,
    isRehydratable: false,
    load: async () => {},
  });

  const isOurs = one =>
    one.Modality === 'SR' && one.isImagingMeasurementReport && one.instance?.Manufacturer === 'medreasoner-monai';

  window.config.extensions.push({
    id: 'medreasoner-monai.answers',
    preRegistration: ({ servicesManager }) => {
      const { displaySetService } = servicesManager.services;
      displaySetService.subscribe(displaySetService.EVENTS.DISPLAY_SETS_ADDED, ({ displaySetsAdded }) => {
        const texts = displaySetsAdded.filter(isOurs).map(asText);
        const known = uid => displaySetService.getDisplaySetByUID(uid);
        const fresh = texts.filter(one => !known(one.displaySetInstanceUID));
        if (fresh.length) {
          displaySetService.addDisplaySets(...fresh);
        }
      });
    },
  });
})();
