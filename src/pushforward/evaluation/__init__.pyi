from pushforward.evaluation.comparison import compare as compare, evaluate as evaluate
from pushforward.evaluation.evaluator import Evaluator as Evaluator
from pushforward.evaluation.pictures import nearest as nearest
from pushforward.evaluation.results import Comparison as Comparison, ModelResult as ModelResult
from pushforward.metrics import MetricInfo as MetricInfo, Score as Score
