import Foundation
import Testing

@testable import TransfusionConfig

struct ExperimentTests {
    private func problems(_ yaml: String) -> [String] {
        do {
            _ = try Experiment(yaml: yaml, file: "dir/table.yaml")
            return []
        } catch {
            return error.problems.map(\.description)
        }
    }

    @Test func aFileIsReadAsItIsWritten() throws {
        let experiment = try Experiment(
            yaml: """
                title: Masks
                note: Two of them.
                base: ../train/base.yaml
                set: {schedule.steps: 20, samples.prompts: [owl, "a: b"]}
                seeds: [3, 1]
                measures:
                  image loss: {record: loss_image}
                  CIDEr:
                    commands: [tf-sample caption -m {run} --out {work}/c.json, [tf-eval, cider, "--candidates", "{work}/c.json"]]
                    value: scores.cider
                cells:
                  causal: {set: {model.causal_images: true}, paper: {FID: 61.3, image loss: 2}}
                  bidirectional:
                """.replacing(
                    "[tf-sample caption -m {run} --out {work}/c.json,",
                    with: "['tf-sample caption -m {run} --out {work}/c.json',"),
            file: "dir/table.yaml")
        #expect(experiment.name == "table" && experiment.title == "Masks" && experiment.note == "Two of them.")
        #expect(experiment.base == "dir/../train/base.yaml")
        #expect(experiment.overrides == ["schedule.steps=20", #"samples.prompts=[owl, "a: b"]"#])
        #expect(experiment.seeds == [3, 1])
        #expect(experiment.measures[0] == .init(name: "image loss", source: .record("loss_image")))
        #expect(
            experiment.measures[1].source
                == .commands(
                    [
                        ["tf-sample", "caption", "-m", "{run}", "--out", "{work}/c.json"],
                        ["tf-eval", "cider", "--candidates", "{work}/c.json"],
                    ], value: ["scores", "cider"]))
        #expect(experiment.cells.map(\.name) == ["causal", "bidirectional"])
        #expect(experiment.cells[0].overrides == ["model.causal_images=true"] && experiment.cells[1].overrides.isEmpty)
        #expect(experiment.publishedOnly == ["FID"])
    }

    @Test func listsMayBeBlocks() throws {
        let experiment = try Experiment(
            yaml: """
                base: base.yaml
                set:
                  samples.prompts:
                    - an owl, a fox
                    - "[tag] {x}"
                    - plain
                measures: {loss: {record: loss}}
                cells: {one: , two: }
                """, file: "table.yaml")
        #expect(experiment.overrides == [#"samples.prompts=["an owl, a fox", "[tag] {x}", plain]"#])
    }

    @Test func allProblemsAreToldAtOnceWithTheirLines() {
        let told = problems(
            """
            bas: x.yaml
            seeds: [1, 1]
            measures:
              a: {record: x, value: y}
              b: {commands: ["rm -r {run}"], value: y}
              c: {commands: ["tf-eval loss {runs}"], value: y}
            cells:
              "-x": {set: 3}
              y: {paper: {FID: low}}
            """)
        let expected = [
            "dir/table.yaml:1: bas: there is no such key; did you mean base?", "dir/table.yaml:1: base: is needed",
            "dir/table.yaml:2: seeds: must be a list of 1 to 64 different whole numbers",
            "dir/table.yaml:4: measures.a: must be {record",
            "dir/table.yaml:5: measures.b.commands: a command begins with tf-eval",
            "dir/table.yaml:6: measures.c.commands: there is no {runs}; there are {run}, {work}, {seed}",
            "dir/table.yaml:8: cells.-x: a name has", "dir/table.yaml:8: cells.-x.set: must be of the form",
            "dir/table.yaml:9: cells.y.paper: must have names with numbers",
        ]
        #expect(told.count == expected.count, "\(told)")
        for (line, start) in zip(told, expected) { #expect(line.hasPrefix(start)) }
    }

    @Test(arguments: [
        "", "3", "[a]", "{", "cells: []", "base: x\ncells: {}", "base: x\ncells: {a: {}, a: {}}", "base: &a [*a]",
    ])
    func whatIsNoExperimentIsRefused(_ yaml: String) {
        #expect(!problems(yaml).isEmpty)
    }
}
