"""What a direction means."""

from interp.features.companion import companion, companions
from interp.features.describe import describe
from interp.features.feature import Feature, FeatureContext, TokenEffect

__all__ = ["Feature", "FeatureContext", "TokenEffect", "companion", "companions", "describe"]
