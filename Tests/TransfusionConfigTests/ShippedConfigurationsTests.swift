import Foundation
import Testing

@testable import TransfusionConfig

/// The files under configs/, and what the documentation shows.
struct ShippedConfigurationsTests {
    private static let root = URL(filePath: #filePath).deletingLastPathComponent()
        .appending(path: "../..").standardized

    private static var files: [String] {
        let configurations = root.appending(path: "configs")
        let names = FileManager.default.enumerator(atPath: configurations.path)?.compactMap { $0 as? String } ?? []
        return names.filter { $0.hasSuffix(".yaml") && !$0.hasPrefix("experiments/") }.map {
            configurations.appending(path: $0).path
        }.sorted()
    }

    @Test func allAreValid() throws {
        #expect(Self.files.count > 2)
        for file in Self.files {
            let configuration = try RunConfiguration.load(file)
            #expect(configuration.problems(ranks: 2, imageHeight: 32, imageWidth: 32).isEmpty, "\(file)")
        }
    }

    @Test(arguments: [("paper", 1 << 21, 250_000), ("paper-7b-2t", 1 << 22, 500_000)])
    func thePapersRunsHaveThePapersRecipe(_ name: String, _ rows: Int, _ steps: Int) throws {
        let configuration = try RunConfiguration.load(Self.root.appending(path: "configs/train/\(name).yaml").path)
        #expect(configuration.batch.sequenceLength * configuration.batch.globalSequences == rows)
        #expect(configuration.schedule.steps == steps)
        let base = try RunConfiguration(yaml: minimal)
        #expect(configuration.optimizer == base.optimizer && configuration.objective == base.objective)
    }

    @Test func theExampleInTheReferenceIsValid() throws {
        let page = try String(contentsOf: Self.root.appending(path: "docs/configuration.md"), encoding: .utf8)
        let start = try #require(page.range(of: "```yaml\n"))
        let end = try #require(page[start.upperBound...].range(of: "```"))
        _ = try RunConfiguration(yaml: String(page[start.upperBound..<end.lowerBound]))
    }
}
