import Testing
import _TestUtilities

@testable import TransfusionCore

@Suite struct CodebookTests {
    @Test(arguments: computingTypes) func aLookupOfUnitLengthAgreesWithPyTorch(_ type: ElementType) throws {
        let fixture = Fixture.one("codebook", "lookup"), context = Context.forTests(type)
        let z = context.tensor(fixture["z"]), codebook = context.parameter(fixture["codes"])
        let found = context.record {
            context.quantized(
                z, codebook: codebook, hasUnitLength: true, images: Int(fixture.scalar("images")),
                commitment: fixture.scalar("commitment"), scale: fixture.scalar("scale"))
        }
        #expect(Array(found.codes.i32) == fixture["found"].integers)
        #expect(relativeError(found.vectors.floats(), fixture["vectors"].floats) < type.tolerance)
        #expect(relativeError(found.errors.map(Float.init), fixture["errors"].floats) < 2 * type.tolerance)
        for row in 0..<z.rows {
            let values = found.compared.floats()[row * z.width..<(row + 1) * z.width]
            #expect(abs(values.reduce(0) { $0 + Double($1) * Double($1) } - 1) < 2 * type.tolerance)
        }
        let gradients = try context.gradients(of: found.vectors, fixture["dy"])
        let dz = try #require(gradients[z]).floats()
        #expect(relativeError(dz, fixture["dz"].floats) < 5 * type.tolerance)
        #expect(relativeError(codebook.gradientFloats, fixture["dcodes"].floats) < 5 * type.tolerance)
    }

    /// A second micro-batch adds its gradient of the codes.
    @Test func gradientsOfCodesAddUp() throws {
        let fixture = Fixture.one("codebook", "lookup"), context = Context.forTests()
        let codebook = context.parameter(fixture["codes"])
        func pass() throws {
            let z = context.tensor(fixture["z"])
            let found = context.record {
                context.quantized(
                    z, codebook: codebook, hasUnitLength: true, images: 1, commitment: 0.25,
                    scale: fixture.scalar("scale"))
            }
            _ = try context.gradients(of: found.vectors, fixture["dy"])
        }
        try pass()
        let once = codebook.gradientFloats
        try pass()
        #expect(codebook.gradientFloats == once.map { 2 * $0 })
    }

    /// What has no direction is no number's fault.
    @Test func zerosStayZeros() throws {
        let context = Context.forTests()
        let codebook = context.parameter(Fixture.Values(shape: [2, 3], floats: [0, 0, 0, 0, 2, 0]))
        let z = context.tensor(Fixture.Values(shape: [2, 3], floats: [0, 0, 0, 0, 1, 0]))
        let found = context.record {
            context.quantized(z, codebook: codebook, hasUnitLength: true, images: 1, commitment: 1, scale: 1)
        }
        #expect(Array(found.codes.i32) == [0, 1] && found.errors == [0])
        #expect(found.vectors.floats() == [0, 0, 0, 0, 1, 0])
        let dy = Fixture.Values(shape: [2, 3], floats: [0, 0, 0, 0, 0, 1])
        let gradient = try #require(try context.gradients(of: found.vectors, dy)[z])
        #expect(gradient.floats() == [0, 0, 0, 0, 0, 1] && codebook.gradientFloats.allSatisfy { $0 == 0 })
    }
}
