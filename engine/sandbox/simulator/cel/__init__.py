"""The Common Expression Language, as the API server evaluates it: rules of custom resources, conditions of webhooks.

In: an expression as text. Out: a `Program`, a function of variables. Values are those of JSON, and the kinds that only
expressions make (timestamps, quantities, addresses, optional values). No library is used: those for Python lack Kubernetes'
functions and the messages of `cel-go`, and cost a hundred times more per evaluation.

Not here: static types. The real server refuses some expressions when they are defined, because their types cannot fit;
here such an expression fails when it is evaluated. The cost of an evaluation is not estimated; only the number of
iterations is limited.
"""

from engine.sandbox.simulator.cel.evaluation import Program, compiled, field_name
from engine.sandbox.simulator.cel.syntax import CelSyntaxError
from engine.sandbox.simulator.cel.values import CelError

__all__ = ["CelError", "CelSyntaxError", "Program", "compiled", "field_name"]
