import Testing
import _TestUtilities

@testable import TransfusionCore

@Suite struct ResamplingTests {
    @Test(arguments: Fixture.all("resampling"), computingTypes)
    func agreesWithPyTorch(_ fixture: Fixture, type: ElementType) throws {
        let context = Context.forTests(type)
        let x = context.tensor(fixture["x"])
        func option(_ name: String) -> Int { Int(fixture.scalar(name)) }
        let y = context.record {
            switch fixture.name.split(separator: "_")[0] {
            case "upsample": context.upsample(x)
            case "max": context.maxPool(x, size: option("size"), stride: option("stride"), padding: option("padding"))
            default:
                context.averagePool(
                    x, size: option("size"), stride: option("stride"), padding: option("padding"),
                    countsPadding: option("counts_padding") != 0)
            }
        }
        let tolerance = type == .f32 ? 1e-5 : 1e-2
        #expect(y.shape == fixture["y"].shape)
        #expect(relativeError(y.floats(), fixture["y"].floats) < tolerance)
        let dx = try #require(try context.gradients(of: y, fixture["dy"])[x])
        #expect(relativeError(dx.floats(), fixture["dx"].floats) < tolerance)
    }

    @Test func theFirstOfEqualsAndNaNAreTheLargest() throws {
        let context = Context.forTests()
        let x = context.tensor([7, 7, .nan, 1], [1, 2, 2, 1])
        let y = context.record { context.maxPool(x, size: 2, stride: 1) }
        #expect(y.floats()[0].isNaN)
        let equal = context.tensor([3, 3, 3, 3], [1, 2, 2, 1])
        try context.backward()
        let z = context.record { context.maxPool(equal, size: 2, stride: 2) }
        let dx = try #require(try context.backward(seeds: [(z, context.tensor([5], [1, 1, 1, 1]))])[equal])
        #expect(dx.floats() == [5, 0, 0, 0])
    }

    @Test(arguments: Fixture.all("leaky_relu"), computingTypes)
    func leakyReLUAgreesWithPyTorch(_ fixture: Fixture, type: ElementType) throws {
        let context = Context.forTests(type)
        let x = context.tensor(fixture["x"])
        let y = context.record { context.leakyReLU(x, slope: fixture.scalar("slope")) }
        #expect(relativeError(y.floats(), fixture["y"].floats) < type.tolerance)
        let dx = try #require(try context.gradients(of: y, fixture["dy"])[x])
        #expect(relativeError(dx.floats(), fixture["dx"].floats) < type.tolerance)
    }
}
