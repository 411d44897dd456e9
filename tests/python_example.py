"""What `README.md` shows of training, evaluating and plotting from Python; a test runs it as it stands."""

import jaxmnist

classifier = jaxmnist.train_run("second", dataset="digits", epochs=1)
print(f"{classifier.arch}, {classifier.results.parameters:,} parameters, in {classifier.path}")

figures = classifier.evaluate("test")
print(f"{figures.errors} errors in {figures.examples} images, loss {figures.loss:.4f}")
print(*classifier.plot())

again = jaxmnist.load(classifier.path)
images = jaxmnist.load_dataset("digits").test_images[:5]
print(again.predict(images).predictions)
