import Foundation
import Testing
import TransfusionConfig
import TransfusionModels

@testable import TransfusionCoordinator

/// The files under configs/experiments.
struct ShippedExperimentsTests {
    private static let directory = URL(filePath: #filePath).deletingLastPathComponent()
        .appending(path: "../../configs/experiments").standardized.path

    private static var files: [String] {
        let names = FileManager.default.enumerator(atPath: directory)?.compactMap { $0 as? String } ?? []
        return names.filter { $0.hasSuffix(".yaml") }.sorted()
    }

    @Test func everyCellIsARunOfItsOwn() throws {
        #expect(Self.files.count >= 8)
        for file in Self.files {
            // Latents or codes of the paper's data set, or pictures of the quickstart's, whose codes are fewer.
            let plan = try ExperimentPlan("\(Self.directory)/\(file)") { configuration in
                let side = configuration.model.images == .tokens && !file.hasPrefix("paper/") ? 8 : 32
                let problems = configuration.problems(imageHeight: side, imageWidth: side)
                if !problems.isEmpty { throw ConfigurationError(problems: problems) }
            }
            for (index, one) in plan.trials.enumerated() {
                for other in plan.trials[..<index] {
                    #expect(
                        one.configuration.differences(from: other.configuration).contains { $0.key != "name" },
                        "\(file)")
                }
            }
        }
    }

    /// Method §2.1: totals with 32,000 tokens, to which the layers for patches and two markers come.
    @Test func thePapersSizesHaveThePapersParameters() throws {
        let plan = try ExperimentPlan("\(Self.directory)/paper/table7.yaml")
        let totals = ["0.16b": 162.4, "0.37b": 373.9, "0.76b": 777.9, "1.4b": 1364.3, "7b": 6738.4]
        #expect(plan.trials.count == totals.count)
        for trial in plan.trials {
            let model = trial.configuration.modelConfiguration(
                vocabulary: 32002, imageChannels: 8, imageHeight: 32, imageWidth: 32, beginOfText: 1, endOfText: 2,
                beginOfImage: 32000, endOfImage: 32001)
            let total = try #require(totals[trial.cell]) * 1e6
            // Table 7: the linear coder adds 0.3 to 0.5 % of the transformer.
            let added = Double(TransfusionModel.parameterCount(model)) / total - 1
            #expect((0.0025...0.0056).contains(added), "\(trial.cell): \(added)")
        }
    }
}
