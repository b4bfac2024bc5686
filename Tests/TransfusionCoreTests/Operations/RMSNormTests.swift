import Testing
import _TestUtilities

@testable import TransfusionCore

@Suite struct RMSNormTests {
    @Test(arguments: Fixture.all("rms_norm"), computingTypes)
    func agreesWithPyTorch(_ fixture: Fixture, type: ElementType) throws {
        let context = Context.forTests(type)
        let x = context.tensor(fixture["x"], .f32), weight = context.parameter(fixture["weight"])
        let y = context.record { context.rmsNorm(x, weight: weight, epsilon: 1e-5) }
        #expect(y.type == type && y.shape == x.shape)
        #expect(relativeError(y.floats(), fixture["y"].floats) < type.tolerance)
        let gradients = try context.gradients(of: y, fixture["dy"])
        let dx = try #require(gradients[x])
        #expect(dx.type == .f32)
        #expect(relativeError(dx.floats(), fixture["dx"].floats) < type.tolerance)
        #expect(relativeError(weight.gradientFloats, fixture["dweight"].floats) < type.tolerance)
    }

    @Test func gradientsAddToWhatIsThere() throws {
        let fixture = Fixture.one("rms_norm", "plain"), context = Context.forTests()
        let x = context.tensor(fixture["x"]), weight = context.parameter(fixture["weight"])
        let y = context.record { context.rmsNorm(x, weight: weight, epsilon: 1e-5) }
        let gradients = try context.backward(seeds: [
            (x, context.tensor(fixture["x"])), (y, context.tensor(fixture["dy"])),
        ])
        let sum = zip(fixture["dx"].floats, fixture["x"].floats).map { $0 + $1 }
        #expect(relativeError(try #require(gradients[x]).floats(), sum) < 2e-6)
    }

    @Test(arguments: [1, 2, 3]) func manyRowsEqualRowsAlone(threads: Int) {
        let context = Context.forTests(threads: threads)
        let x = context.normal([1500, 33], seed: 1)
        let weight = context.parameter(Fixture.Values(shape: [33], floats: (0..<33).map { Float($0) / 16 }))
        let y = context.rmsNorm(x, weight: weight, epsilon: 1e-5)
        for row in [0, 1, 749, 750, 1499] {
            let alone = context.rmsNorm(x.view(at: row * 33, [1, 33]), weight: weight, epsilon: 1e-5)
            #expect(alone.floats() == y.view(at: row * 33, [1, 33]).floats())
        }
    }

    @Test func nanStaysInItsRow() {
        let context = Context.forTests()
        let x = context.tensor([1, 2, .nan, 4, 5, 6], [2, 3])
        let y = context.rmsNorm(
            x, weight: context.parameter(Fixture.Values(shape: [3], floats: [1, 1, 1])), epsilon: 1e-5)
        #expect(y.floats()[..<3].allSatisfy { $0.isNaN } && y.floats()[3...].allSatisfy { $0.isFinite })
    }
}
