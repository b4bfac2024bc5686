import Testing

@testable import TransfusionConfig

@Suite struct DataSourceTests {
    private func found(_ sources: String, _ more: String...) -> [String] {
        problems(in: minimal, overrides: ["data.path=none", "data.sources=\(sources)"] + more)
    }

    @Test func sourcesAreReadWrittenAndReadBack() throws {
        let text = "[{path: a, weight: 0.25}, {path: \"b c\", from_step: 100}, {path: a, weight: 0, from_step: 1_500}]"
        let configuration = try RunConfiguration(
            yaml: minimal, overrides: ["data.path=none", "data.sources=\(text)"])
        #expect(
            configuration.data.sources == [
                .init(path: "a", weight: 0.25), .init(path: "b c", fromStep: 100),
                .init(path: "a", weight: 0, fromStep: 1500),
            ])
        #expect(configuration.data.paths == ["a", "b c"])
        #expect(try RunConfiguration(yaml: configuration.resolved) == configuration)
        let alone = try RunConfiguration(yaml: minimal)
        #expect(configuration.differences(from: alone).map(\.key) == ["data.path", "data.sources"])
        #expect(alone.data.allSources == [.init(path: "data/emoji")])
    }

    @Test(arguments: [
        ("[{path: a, weight: 0}, {path: b}]", "a: a weight of 0 gives it no part"),
        ("[{path: a, weight: -1}]", "source 1: weight must be a number from 0 to 1000000000, not \"-1\""),
        ("[{path: a}, {path: b, weight: nan}]", "source 2: weight must be a number"),
        ("[{path: a}, {path: b, weight: .inf}]", "source 2: weight must be a number"),
        ("[{path: a}, {path: b, from_step: 2000}]", "b: from_step 2000 is past the end of the run; use at most 1999"),
        ("[{path: a}, {path: a, weight: 2}]", "a has two weights from step 0 on"),
        ("[{path: a, from_step: 5}]", "no source has a weight from step 0 on"),
        ("[{path: a}, {path: a, weight: 0, from_step: 7}]", "no source has a weight from step 7 on"),
        (
            "[{path: a, weight: 1e-3}, {path: b, weight: 100}]",
            "a: a weight of 0.001 of 100.001 is less than one in 65536"
        ),
        ("[{weight: 2}]", "source 1: path is needed"), ("[a]", "source 1: must have the form {path: …"),
        ("[{path: a, wieght: 2}]", "there is no \"wieght\"; there are path, weight, from_step"),
        ("{path: a}", "must be a list of at most 64"), ("[]", "data.path: is needed"),
    ]) func whatMakesNoMixtureIsRefused(_ sources: String, _ message: String) {
        let found = found(sources)
        #expect(found.count == 1 && found[0].contains(message), "\(found)")
    }

    @Test func aPathBesideSourcesIsRefused() {
        let found = problems(in: minimal, overrides: ["data.sources=[{path: a}]"])
        #expect(
            found.count == 1 && found[0].contains("data.sources: cannot stand beside data.path (data/emoji)"),
            "\(found)")
    }
}
