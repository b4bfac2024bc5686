import Testing
import _TestUtilities

@testable import TransfusionCore

@Suite struct GroupNormTests {
    @Test(arguments: Fixture.all("group_norm"), computingTypes)
    func agreesWithPyTorch(_ fixture: Fixture, type: ElementType) throws {
        // A bf16 has 8 bits: an offset of a hundred deviations leaves nothing of them.
        if type == .bf16 && fixture.name == "offset" { return }
        let context = Context.forTests(type)
        let x = context.tensor(fixture["x"])
        let weight = context.parameter(fixture["weight"]), bias = context.parameter(fixture["bias"])
        let y = context.record {
            context.groupNorm(
                x, weight: weight, bias: bias, groups: Int(fixture.scalar("groups")), epsilon: 1e-6,
                silu: fixture.scalar("silu") != 0)
        }
        let tolerance = type == .f32 ? 1e-5 : 1e-2
        #expect(y.type == type && y.shape == x.shape)
        #expect(relativeError(y.floats(), fixture["y"].floats) < tolerance)
        let gradients = try context.gradients(of: y, fixture["dy"])
        #expect(relativeError(try #require(gradients[x]).floats(), fixture["dx"].floats) < tolerance)
        #expect(relativeError(weight.gradientFloats, fixture["dweight"].floats) < tolerance)
        #expect(relativeError(bias.gradientFloats, fixture["dbias"].floats) < tolerance)
    }

    @Test(arguments: ["plain", "silu"]) func gradientsAddToWhatIsThere(_ name: String) throws {
        let fixture = Fixture.one("group_norm", name), context = Context.forTests()
        let x = context.tensor(fixture["x"])
        let weight = context.parameter(fixture["weight"]), bias = context.parameter(fixture["bias"])
        let y = context.record {
            context.groupNorm(x, weight: weight, bias: bias, groups: 3, epsilon: 1e-6, silu: name == "silu")
        }
        let gradients = try context.backward(seeds: [
            (x, context.tensor(fixture["x"])), (y, context.tensor(fixture["dy"])),
        ])
        let sum = zip(fixture["dx"].floats, fixture["x"].floats).map { $0 + $1 }
        #expect(relativeError(try #require(gradients[x]).floats(), sum) < 1e-5)
    }

    @Test func nanStaysInItsGroup() {
        let context = Context.forTests()
        let x = context.normal([2, 3, 3, 4], seed: 1)
        x.f32[0] = .nan
        let one = context.parameter(Fixture.Values(shape: [4], floats: [1, 1, 1, 1]))
        let y = context.groupNorm(x, weight: one, bias: one, groups: 2, epsilon: 1e-6, silu: true).floats()
        #expect(y.indices.allSatisfy { y[$0].isNaN == ($0 < 36 && $0 % 4 < 2) })
    }
}
