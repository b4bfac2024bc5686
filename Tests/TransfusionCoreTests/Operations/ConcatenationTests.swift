import Testing
import _TestUtilities

@testable import TransfusionCore

@Suite struct ConcatenationTests {
    @Test(arguments: computingTypes) func channelsStandSideBySideAndGradientsGoBack(_ type: ElementType) throws {
        let context = Context.forTests(type)
        // Small whole numbers are exact in both types.
        let a = context.tensor((0..<4).map(Float.init), [1, 2, 2, 1])
        let b = context.tensor((10..<22).map(Float.init), [1, 2, 2, 3])
        let y = context.record { context.concatenated([a, b, a]) }
        #expect(y.shape == [1, 2, 2, 5])
        #expect(y.floats() == [0, 10, 11, 12, 0, 1, 13, 14, 15, 1, 2, 16, 17, 18, 2, 3, 19, 20, 21, 3])
        let gradients = try context.backward(seeds: [(y, context.tensor((0..<20).map(Float.init), [1, 2, 2, 5]))])
        #expect(try #require(gradients[b]).floats() == [1, 2, 3, 6, 7, 8, 11, 12, 13, 16, 17, 18])
        #expect(try #require(gradients[a]).floats() == [4, 14, 24, 34])
    }
}
