"""The notebook's own steps, typed anew against an exported file, without jetexp.

Usage: python benchmarks/notebook.py 20190920_pt600.0_1500.0_40bins_10k.npz [--seed 0] [--epochs 10]

What it prints must agree, within errors, with `experiments/notebook.yaml` on the same jets.
"""

import argparse
import time

import keras
import numpy as np
from keras import layers
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.model_selection import train_test_split

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("file", help="the .npz file, with W_jet_images and QCD_jet_images")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--epochs", type=int, default=10)
arguments = parser.parse_args()
keras.utils.set_random_seed(arguments.seed)

# load: transverse energy in GeV, 40 x 40 pixels
with np.load(arguments.file, allow_pickle=False) as file:
    w_jets, qcd_jets = file["W_jet_images"], file["QCD_jet_images"]

# label: W is 1, QCD is 0
images = np.concatenate([w_jets, qcd_jets]).astype(np.float32).reshape(-1, 40, 40, 1)
labels = np.concatenate([np.ones(len(w_jets), dtype=int), np.zeros(len(qcd_jets), dtype=int)])

# split: three quarters train, one quarter tests
train_images, test_images, train_labels, test_labels = train_test_split(
    images, labels, test_size=0.25, random_state=arguments.seed
)

model = keras.Sequential(
    [
        keras.Input((40, 40, 1)),
        layers.Conv2D(32, (3, 3), activation="relu"),
        layers.MaxPooling2D((2, 2)),
        layers.Conv2D(64, (3, 3), activation="relu"),
        layers.MaxPooling2D((2, 2)),
        layers.Conv2D(64, (3, 3), activation="relu"),
        layers.MaxPooling2D((2, 2)),
        layers.Dropout(0.25),
        layers.Flatten(),
        layers.Dense(256, activation="relu"),
        layers.Dense(128, activation="sigmoid"),
        layers.Dense(128, activation="relu"),
        layers.Dense(64, activation="relu"),
        layers.Dense(64, activation="sigmoid"),
        layers.Dense(48, activation="sigmoid"),
        layers.Dense(32, activation="relu"),
        layers.Dense(16, activation="relu"),
        layers.Dense(2, activation="softmax"),
    ]
)
model.compile(optimizer=keras.optimizers.Adam(4e-4), loss="categorical_crossentropy", metrics=["accuracy"])

# fit; the notebook watched the test jets meanwhile, but chose nothing by them
started = time.perf_counter()
model.fit(
    train_images,
    keras.utils.to_categorical(train_labels, 2),
    batch_size=64,
    epochs=arguments.epochs,
    validation_data=(test_images, keras.utils.to_categorical(test_labels, 2)),
    verbose=2,
)
seconds = time.perf_counter() - started

# ROC: background rejection is one over the background efficiency, interpolated
scores = model.predict(test_images, batch_size=1024, verbose=0)
correct = scores.argmax(axis=1) == test_labels
background = int((test_labels == 0).sum())
background_efficiency, signal_efficiency, _ = roc_curve(test_labels, scores[:, 1])
print(f"fit: {seconds:.0f} s for {len(train_labels)} jets and {arguments.epochs} epochs")
print(f"accuracy: {correct.mean():.4f} +- {correct.std() / len(correct) ** 0.5:.4f}")
print(f"AUC: {roc_auc_score(test_labels, scores[:, 1]):.4f}")
for working_point in (0.3, 0.5, 0.8):
    passing = np.interp(working_point, signal_efficiency, background_efficiency)
    if passing == 0:
        print(f"rejection at {working_point:.0%} signal efficiency: above {background}, none passes")
        continue
    rejection = 1 / passing
    error = rejection * ((1 - passing) / (passing * background)) ** 0.5
    print(f"rejection at {working_point:.0%} signal efficiency: {rejection:.1f} +- {error:.1f}")
