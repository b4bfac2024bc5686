import Testing
import _TestUtilities

@testable import TransfusionCore

@Suite struct LossTests {
    @Test(arguments: Fixture.all("cross_entropy"), computingTypes)
    func crossEntropyAgreesWithPyTorch(_ fixture: Fixture, type: ElementType) throws {
        let context = Context.forTests(type)
        let hidden = context.tensor(fixture["hidden"]), weight = context.parameter(fixture["weight"])
        let targets = fixture["targets"].integers
        let due = targets.indices.filter { targets[$0] >= 0 }
        let loss = try context.record {
            try context.linearCrossEntropy(
                context.gather(hidden, rows: due.map { Int32($0) }), weight: weight, targets: due.map { targets[$0] },
                scale: fixture.scalar("factor"))
        }.loss
        let expected = Double(fixture.scalar("loss"))
        #expect(abs(loss - expected) <= type.tolerance * max(expected, 1))
        let gradients = try context.backward()
        #expect(relativeError(weight.gradientFloats, fixture["dweight"].floats) < 5 * type.tolerance)
        if due.isEmpty {
            #expect(loss == 0)
        } else {
            let dhidden = try #require(gradients[hidden]).floats()
            #expect(relativeError(dhidden, fixture["dhidden"].floats) < 5 * type.tolerance)
        }
    }

    /// More logits than are held at once: 600 rows of 40,000.
    @Test func chunksAddUpToTheWhole() throws {
        let context = Context.forTests()
        let rows = 600, vocabulary = 40_000, width = 8
        let x = context.normal([rows, width], seed: 1)
        let weight = context.parameter(Fixture.Values(context.normal([vocabulary, width], seed: 2)))
        let targets = (0..<rows).map { Int32($0 * 61 % vocabulary) }
        let whole = try context.record {
            try context.linearCrossEntropy(x, weight: weight, targets: targets, scale: 0.5)
        }.loss
        let dx = try #require(try context.backward()[x]).floats()
        let dweight = weight.gradientFloats
        weight.gradient?.fill(0)
        var sum = 0.0
        var parts: [Float] = []
        for first in stride(from: 0, to: rows, by: 100) {
            let part = x.view(at: first * width, [100, width])
            sum += try context.record {
                try context.linearCrossEntropy(
                    part, weight: weight, targets: Array(targets[first..<first + 100]), scale: 0.5)
            }.loss
            parts += try #require(try context.backward()[part]).floats()
        }
        #expect(abs(whole - sum) < 1e-6 * sum)
        #expect(relativeError(dx, parts) < 2e-6)
        #expect(relativeError(dweight, weight.gradientFloats) < 2e-6)
    }

    @Test func withoutRecordingThereIsALossAndNoGradient() throws {
        let fixture = Fixture.one("cross_entropy", "one_row"), context = Context.forTests()
        let weight = context.parameter(fixture["weight"])
        let loss = try context.linearCrossEntropy(
            context.tensor(fixture["hidden"]), weight: weight, targets: fixture["targets"].integers, scale: 1
        ).loss
        #expect(abs(loss - Double(fixture.scalar("loss"))) < 1e-5)
        try context.backward()
        #expect(weight.gradientFloats.allSatisfy { $0 == 0 })
    }

    @Test func nanLogitsGiveANaNLoss() throws {
        let context = Context.forTests()
        let weight = context.parameter(Fixture.Values(shape: [3, 2], floats: [1, 2, 3, .nan, 5, 6]))
        let loss = try context.linearCrossEntropy(
            context.tensor([1, 1], [1, 2]), weight: weight, targets: [0], scale: 1
        ).loss
        #expect(loss.isNaN)
    }

    @Test(arguments: Fixture.all("mean_squared_error"), computingTypes)
    func squaredErrorAgreesWithPyTorch(_ fixture: Fixture, type: ElementType) throws {
        let context = Context.forTests(type)
        let prediction = context.tensor(fixture["prediction"], .f32), target = context.tensor(fixture["target"], .f32)
        let images = prediction.rows, elements = Float(prediction.width)
        let sums = context.record {
            context.squaredError(
                prediction, target: target, images: images, scale: fixture.scalar("factor") / elements)
        }
        #expect(relativeError(sums.map { Float($0) / elements }, fixture["per_image"].floats) < 1e-6)
        let gradient = try #require(try context.backward()[prediction])
        #expect(relativeError(gradient.floats(), fixture["dprediction"].floats) < type.tolerance)
    }

    /// An image that is excluded has no part in anything, whatever was predicted for it.
    @Test(arguments: computingTypes) func excludedImagesHaveNoSquaredErrorAndNoGradient(_ type: ElementType) throws {
        let context = Context.forTests(type)
        let prediction = context.tensor([1, 2, .nan, .infinity, 5, 6], [3, 2], .f32)
        let target = context.tensor([0, 0, 0, 0, 4, 4], [3, 2], .f32)
        let sums = context.record {
            context.squaredError(
                prediction, target: target, images: 3, scale: 1, isExcluded: [false, true, false])
        }
        #expect(sums == [5, 0, 5])
        #expect(try #require(try context.backward()[prediction]).floats() == [2, 4, 0, 0, 2, 4])
    }
}
