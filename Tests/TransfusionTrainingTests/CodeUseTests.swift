import Testing
import TransfusionModels

@testable import TransfusionTraining

@Suite struct CodeUseTests {
    @Test func isAShareAndAPerplexity() {
        let use = CodeUse(counts: [3, 3, 3, 3, 0, 0, 0, 0])
        #expect(use.total == 12)
        #expect(use.measures[0].mean == 0.5 && abs(use.measures[1].mean - 4) < 1e-12)
        #expect(CodeUse(counts: [0, 0]).measures.map(\.mean) == [0, 1])
    }
}
