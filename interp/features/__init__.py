"""What a direction means."""

from interp.features.companion import companion, companions
from interp.features.describe import describe
from interp.features.feature import Feature, FeatureContext, TokenEffect
from interp.features.supervised import concept_means

__all__ = ["Feature", "FeatureContext", "TokenEffect", "companion", "companions", "concept_means", "describe"]
