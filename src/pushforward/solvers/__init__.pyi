from pushforward.solvers.exponential import (
    DEIS as DEIS,
    DPM as DPM,
    IPNDM as IPNDM,
    SingleStep as SingleStep,
    UniPC as UniPC,
)
from pushforward.solvers.runge_kutta import (
    RK4 as RK4,
    Adaptive as Adaptive,
    Euler as Euler,
    Heun as Heun,
    Midpoint as Midpoint,
)
from pushforward.solvers.solver import (
    Solver as Solver,
    as_solver as as_solver,
    name_of as name_of,
    named as named,
    register as register,
)
from pushforward.solvers.stochastic import (
    DDIM as DDIM,
    DPMSDE as DPMSDE,
    Ancestral as Ancestral,
    Churn as Churn,
    EulerMaruyama as EulerMaruyama,
    Jump as Jump,
    PredictorCorrector as PredictorCorrector,
)
