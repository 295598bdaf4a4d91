"""Posture: what in the directory and its use makes an account takeover easy, as controls that can be scored.

A control is one function in a file of `controls/`, with its texts and limits (`control.control`); nothing else is
edited for a new one but its cases in `tests/identity/posture`. `facts` is what controls see, `gather` reads it from the
store in pages, `score` makes the documents, `stage` keeps them up to date.

Source: Microsoft Graph, resources secureScore and secureScoreControlProfile; Microsoft Secure Score, "Assess your
security posture".
"""

from bartizan.identity.posture import controls
from bartizan.identity.posture.control import CONTROLS, Control, limits_of
from bartizan.identity.posture.score import EVIDENCE
from bartizan.identity.posture.stage import PostureStage

controls.load()

__all__ = ["CONTROLS", "EVIDENCE", "Control", "PostureStage", "limits_of"]
