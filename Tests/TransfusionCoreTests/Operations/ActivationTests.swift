import Testing
import _TestUtilities

@testable import TransfusionCore

@Suite struct ActivationTests {
    @Test(arguments: Fixture.all("swiglu"), computingTypes)
    func swiGLUAgreesWithPyTorch(_ fixture: Fixture, type: ElementType) throws {
        let context = Context.forTests(type)
        let gateUp = context.tensor(.joined([fixture["gate"], fixture["up"]]))
        let y = context.record { context.swiGLU(gateUp) }
        #expect(relativeError(y.floats(), fixture["y"].floats) < type.tolerance)
        let gradient = try #require(try context.gradients(of: y, fixture["dy"])[gateUp])
        let expected = Fixture.Values.joined([fixture["dgate"], fixture["dup"]])
        #expect(gradient.shape == expected.shape)
        #expect(relativeError(gradient.floats(), expected.floats) < type.tolerance)
    }

    @Test(arguments: Fixture.all("silu"), computingTypes)
    func siluAgreesWithPyTorch(_ fixture: Fixture, type: ElementType) throws {
        let context = Context.forTests(type)
        let x = context.tensor(fixture["x"])
        let y = context.record { context.silu(x) }
        #expect(relativeError(y.floats(), fixture["y"].floats) < type.tolerance)
        let gradient = try #require(try context.gradients(of: y, fixture["dy"])[x])
        #expect(relativeError(gradient.floats(), fixture["dx"].floats) < type.tolerance)
    }

    @Test func extremesSaturateAndNaNPasses() {
        let context = Context.forTests()
        let x = context.tensor([-.infinity, -200, -0.0, 200, .infinity, .nan], [1, 6])
        let y = context.silu(x).floats()
        #expect(y[1] == 0 && y[2] == 0 && y[3] == 200 && y[4] == .infinity && y[5].isNaN)
        // −∞ · 0 has no value; −0 would do as well.
        #expect(y[0].isNaN || y[0] == 0)
    }

    @Test func theResidualStreamStaysF32() throws {
        let context = Context.forTests(.bf16)
        let x = context.normal([5, 40], seed: 1, type: .f32), branch = context.normal([5, 40], seed: 2)
        let y = context.record { context.add(x, branch) }
        #expect(y.type == .f32)
        #expect(y.floats() == zip(x.floats(), branch.floats()).map { $0 + $1 })
        let dy = context.normal([5, 40], seed: 3, type: .f32)
        let gradients = try context.backward(seeds: [(y, dy)])
        #expect(try #require(gradients[x]).floats() == dy.floats())
        let dbranch = try #require(gradients[branch])
        #expect(dbranch.type == .bf16 && dbranch.floats() == dy.floats().map { BFloat16($0).float })
    }

    @Test func bothSidesOfAnAdditionMayBeOneTensor() throws {
        let context = Context.forTests()
        let x = context.normal([3, 20], seed: 1)
        let y = context.record { context.add(context.add(x, x), x) }
        let dy = context.normal([3, 20], seed: 2)
        let expected = dy.floats().map { 3 * $0 }
        #expect(relativeError(y.floats(), x.floats().map { 3 * $0 }) < 1e-6)
        #expect(relativeError(try #require(try context.backward(seeds: [(y, dy)])[x]).floats(), expected) < 1e-6)
    }
}
