"""The other way to learn: a head on the features of a frozen backbone, each example passed through
it once.

Knows no Trainer: a head is an estimator that is fitted on an array of features, in the main
process, and then shared.
"""

from __future__ import annotations

import time
import warnings
from collections import Counter

import numpy as np
import torch
from torch import Tensor, nn

from headstart.errors import RecipeError, first_line
from headstart.evaluate.events import EpochDone
from headstart.evaluate.results import Epoch, EpochRecord
from headstart.models.blocks import Blocks
from headstart.models.sklearn_head import Classifier
from headstart.models.sklearn_head import fitted as fitted_classifier
from headstart.recipe import Head
from headstart.runtime.processes import from_main
from headstart.runtime.threads import one_blas_thread
from headstart.train.context import Context
from headstart.train.cross_validation import (
    FOLDS,
    cross_validated_accuracy,
    training_accuracy,
)
from headstart.train.epochs import BestEpoch, History, epochs_since_best
from headstart.train.features import extract
from headstart.train.forward import head_outputs
from headstart.train.loss import Loss, balanced
from headstart.train.optimizer import optimizer
from headstart.train.sampling import Batches, seed_for
from headstart.train.schedules import LearningRate
from headstart.transfer.choice import FrozenFit
from headstart.transfer.plan import Phase

# C of the logistic regression: the inverse of the penalty on its weights
STRENGTHS = 10.0 ** np.arange(-4, 1.5, 0.5)
ENOUGH = 5_000  # examples to choose the strength on; the head is then fitted on all of them


def probe(context: Context, phase: Phase) -> History:
    """Fit the network's head on features of its frozen rest, in place and the same in every
    process."""
    network = context.network
    started = time.perf_counter()
    head = network.spec.head
    selection = context.selection if head.fitting == "gradient" else None
    train, cached = extract(context, "train", context.train)
    held_out, _ = extract(context, "selection", selection) if selection else (None, 0)
    history, fitted = _fit(context, phase, train, held_out)
    if isinstance(fitted, dict):
        network.head.load_state_dict(fitted)
    else:
        network.estimator = fitted
    history.cached = cached
    history.seconds = time.perf_counter() - started
    return history


@from_main
def _fit(
    context: Context, phase: Phase, train: np.ndarray | None, held_out: np.ndarray | None
) -> tuple[History, dict[str, Tensor] | Classifier]:
    """The head as the recipe fits it: its state or the classifier in its place."""
    assert train is not None
    head = context.network.spec.head
    if head.fitting == "gradient":
        history = _by_gradient(context, phase, train, held_out)
        return history, context.network.head.state_dict()
    if head.is_estimator:
        return _estimator(context, head, train)
    return _logistic_regression(context, train)


def frozen_fit(context: Context) -> FrozenFit:
    """What a logistic regression on features of the frozen backbone does on the training examples,
    or some of each class where there are many; the same in every process."""
    features, _ = extract(context, "train", context.train)
    return _frozen_fit(features, context.train.labels, context.recipe.seed)


@from_main
def _frozen_fit(features: np.ndarray | None, labels: np.ndarray, seed: int) -> FrozenFit:
    assert features is not None
    some = _some_of_each(labels, seed)
    values, targets = features[some], labels[some]
    counts = np.bincount(targets)
    accuracy = cross_validated_accuracy(values, targets, seed)
    return FrozenFit(
        accuracy=accuracy.value,
        low=accuracy.low,
        high=accuracy.high,
        fitted=training_accuracy(values, targets),
        majority=float(counts.max() / len(targets)),
    )


def _logistic_regression(
    context: Context, features: np.ndarray
) -> tuple[History, dict[str, Tensor]]:
    """A linear head with an L2 penalty whose strength is chosen by the log loss in stratified
    cross-validation.

    Features are standardised for the fit, and the head's weights then take that in. C multiplies a
    sum over examples, so one chosen on some of them holds for all.
    """
    from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
    from sklearn.model_selection import StratifiedKFold

    targets = context.train.labels
    mean, scale = features.mean(0), features.std(0)
    # a feature that never varies says nothing
    scale[scale < 1e-6 * max(float(scale.max()), 1e-30)] = 1.0
    values = features - mean
    values /= scale
    some = _some_of_each(targets, context.recipe.seed)
    folds = min(FOLDS, *Counter(targets[some].tolist()).values())
    each = _class_weights(context)
    weights = None if each is None else dict(enumerate(each.tolist()))
    with warnings.catch_warnings(), one_blas_thread():
        warnings.simplefilter("ignore")
        if folds >= 2:
            splits = StratifiedKFold(folds, shuffle=True, random_state=context.recipe.seed)
            search = LogisticRegressionCV(
                Cs=STRENGTHS,
                cv=splits,
                scoring="neg_log_loss",
                max_iter=1000,
                class_weight=weights,
                use_legacy_attributes=False,
            )
            search.fit(values[some], targets[some])
            strength, chosen_by = float(search.C_), f"chosen by {folds}-fold cross-validation"
            model = search
        else:
            strength, chosen_by = 1.0, "a class has too few examples to choose it"
        if folds < 2 or len(some) < len(targets):
            model = LogisticRegression(C=strength, max_iter=1000, class_weight=weights).fit(
                values, targets
            )
    weight, bias = model.coef_ / scale, model.intercept_ - model.coef_ @ (mean / scale)
    if len(weight) == 1:  # of two classes scikit-learn gives the difference
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    state = {"weight": torch.from_numpy(weight).float(), "bias": torch.from_numpy(bias).float()}
    return History(fitted=f"logistic regression, C = {strength:.3g} ({chosen_by})"), state


def _class_weights(context: Context) -> np.ndarray | None:
    """The weight of each class in a fit of the whole head, shape (classes,), or None; weights
    take the place of balanced sampling."""
    weights, labels = context.class_weights, context.train.labels
    if context.recipe.train.sampling != "balanced":
        return weights
    drawn = balanced(labels, int(labels.max()) + 1 if weights is None else len(weights))
    return drawn if weights is None else weights * drawn


def _some_of_each(targets: np.ndarray, seed: int) -> np.ndarray:
    """At most ENOUGH rows, as many of each class as its share of all, and at least FOLDS of it."""
    if len(targets) <= ENOUGH:
        return np.arange(len(targets))
    random = np.random.default_rng(seed)
    rows = []
    for label in np.unique(targets):
        members = random.permutation(np.flatnonzero(targets == label))
        rows.append(members[: max(round(len(members) * ENOUGH / len(targets)), FOLDS)])
    return np.sort(np.concatenate(rows))


def _estimator(
    context: Context, head: Head, features: np.ndarray
) -> tuple[History, dict[str, Tensor] | Classifier]:
    """A scikit-learn classifier."""
    each, targets = _class_weights(context), context.train.labels
    weights = None if each is None else each[targets]
    try:
        with warnings.catch_warnings(), one_blas_thread():
            warnings.simplefilter("ignore")
            fitted = fitted_classifier(head, features, targets, weights, context.recipe.seed)
    except Exception as error:  # as manifold as the classifiers
        weightless = weights is not None and not weights.all()
        hint = "; it may not take a class whose train.class_weights is 0" if weightless else ""
        if "nu is infeasible" in str(error):
            hint = "; lower nu, such as model.head.options.nu = 0.1, or choose SVC"
        raise RecipeError(
            f"model.head.classifier: {head.fitting} cannot be fitted: {first_line(error)}{hint}"
        ) from None
    return History(fitted=head.fitting), fitted


def _by_gradient(
    context: Context, phase: Phase, features: np.ndarray, held_out: np.ndarray | None
) -> History:
    """The head's layers by gradient descent on features, otherwise as in the engine."""
    network, options, device = context.network, context.recipe.train, context.device
    inputs, targets = (
        torch.from_numpy(array).to(device) for array in (features, context.train.labels)
    )
    balance = context.train.labels if options.sampling == "balanced" else None
    batches = Batches(len(targets), context.batch_size, 1, context.recipe.seed, 0, balance=balance)
    network.to(device)
    schedule = LearningRate(options, batches.steps, phase.epochs)
    blocks = Blocks(network)
    blocks.open(phase)
    steps = optimizer(blocks, phase, options)
    scheduler = torch.optim.lr_scheduler.LambdaLR(steps, schedule)
    layers = sum(isinstance(layer, nn.Linear) for layer in network.head.modules())
    history = History(fitted=f"{'linear head' if layers == 1 else f'{layers} layers'} by gradient")
    best, loss_of = BestEpoch(options.metric), Loss(options, context.class_weights, device)
    for epoch in range(phase.epochs):
        started = time.perf_counter()
        batches.epoch = epoch
        network.head.train()
        losses = []
        for step, specs in enumerate(batches):
            torch.manual_seed(seed_for(context.recipe.seed, 0, epoch * batches.steps + step, 0, 1))
            rows = torch.tensor([spec.row for spec in specs], device=device)
            loss = loss_of(network.head(inputs[rows]), targets[rows]).mean()
            steps.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            if options.max_grad_norm:
                nn.utils.clip_grad_norm_(network.head.parameters(), options.max_grad_norm)
            steps.step()
            scheduler.step()
            losses.append(loss.item())
        loss_of_epoch = float(np.mean(losses))
        if not np.isfinite(loss_of_epoch):
            raise RecipeError(
                f"train: the loss of the head is {loss_of_epoch} in epoch {epoch + 1}; expected a "
                f"finite number. Lower train.lr (now {options.lr:g}) or transfer.head_lr_ratio"
            )
        number = Epoch(phase=1, epoch=epoch + 1)
        rate = phase.rates["head"] * schedule((epoch + 1) * batches.steps - 1)
        scores = {}
        if held_out is not None and context.selection is not None:
            logits = head_outputs(network, held_out)
            scores = best.offer(logits, context.selection.labels, number, network.head.state_dict())
        schedule.observe(scores.get("selection_loss", loss_of_epoch))
        record = EpochRecord(
            **number.model_dump(),
            loss=loss_of_epoch,
            lr={"head": rate},
            seconds=time.perf_counter() - started,
            **scores,
        )
        history.epochs.append(record)
        context.on_event(EpochDone(phase.epochs, record, best.so_far()))
        if (
            options.early_stopping
            and best.epoch
            and (epochs_since_best(history.epochs, options.metric) >= options.early_stopping)
        ):
            history.notes.append(
                f"the head stopped after epoch {epoch + 1} of {phase.epochs}: "
                f"{options.early_stopping} epochs without a better {options.metric}"
            )
            break
    if best.weights is not None:
        network.head.load_state_dict(best.weights)
    history.kept = best.epoch or Epoch(phase=1, epoch=len(history.epochs))
    return history
