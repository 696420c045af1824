"""Page: trainings of CNNs side by side. Everything on it is read from MLflow."""

import streamlit as st

from ui.results import comparing, confusions
from ui.results.leaderboard import datasets, lines
from ui.results.training_runs import classifiers, histories, parameters

st.title("Compare CNNs")
trainings = classifiers()
if not trainings:
    comparing.nothing_yet()
    st.stop()
chosen = comparing.choose(trainings, datasets(trainings))
if not chosen:
    st.info("Choose at least one run.", icon=":material/info:")
    st.stop()
curves = histories(tuple(sorted(one.run_id for one in chosen)))
counts = {one.run_id: parameters(one, one.run_id) for one in chosen}
found = lines(chosen, curves, counts, each_run=comparing.each_run(chosen))
comparing.draw_leaderboard(found, chosen)
shown = comparing.shown(found)
comparing.draw_curves(shown, curves)
comparing.draw_bars(shown)
comparing.draw_cost(shown)
confusions.draw_confusions(shown)
confusions.draw_classes(shown)
