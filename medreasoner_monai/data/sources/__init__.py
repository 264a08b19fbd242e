"""Where data sets come from; one file a kind, chosen by the ``kind`` of its settings (see ``registry``)."""
