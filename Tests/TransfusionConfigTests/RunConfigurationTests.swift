import Foundation
import Testing
import TransfusionCore
import TransfusionModels
import _TestUtilities

@testable import TransfusionConfig

/// The least that a configuration must say.
let minimal = """
    model: {preset: tiny}
    data: {path: data/emoji}
    schedule: {steps: 2000, warmup_steps: 100}
    batch: {global_sequences: 16}
    """

func problems(in yaml: String, overrides: [String] = []) -> [String] {
    do throws(ConfigurationError) {
        _ = try RunConfiguration(yaml: yaml, file: "run.yaml", overrides: overrides)
        return []
    } catch {
        return error.problems.map(\.description)
    }
}

extension String {
    fileprivate func repeated(_ count: Int) -> String { String(repeating: self, count: count) }
}

struct RunConfigurationTests {
    @Test func defaultsAreThePapers() throws {
        let configuration = try RunConfiguration(yaml: minimal, defaultName: "emoji")
        #expect(configuration.name == "emoji")
        #expect(configuration.optimizer == .init())
        #expect(configuration.optimizer.beta1 == 0.9 && configuration.optimizer.beta2 == 0.95)
        #expect(configuration.optimizer.epsilon == 1e-8 && configuration.optimizer.weightDecay == 0.1)
        #expect(configuration.optimizer.clipNorm == 1)
        #expect(configuration.schedule.learningRate == 3e-4 && configuration.schedule.minimumLearningRate == 1.5e-5)
        #expect(RunConfiguration.Schedule().warmupSteps == 4000)
        #expect(configuration.objective.imageLossWeight == 5)
        #expect(configuration.batch.sequenceLength == 4096 && configuration.batch.microSequences == 1)
        #expect(configuration.data.captionFirst == 0.8 && configuration.data.captionDropout == 0.1)
        #expect(configuration.data.noiseCap == 500 && configuration.data.textImageRatio == 1)
        #expect(configuration.parallel.data == nil && configuration.precision == .automatic)
    }

    @Test(arguments: ModelPreset.allCases) func presetsSetTheSizes(_ preset: ModelPreset) throws {
        let configuration = try RunConfiguration(yaml: minimal, overrides: ["model.preset=\(preset.rawValue)"])
        #expect(configuration.model.preset == preset)
        #expect(configuration.model.feedForward == preset.sizes.feedForward)
        let sizes = try RunConfiguration(yaml: configuration.resolved)
        #expect(sizes.model.preset == preset)
    }

    @Test func sizesOverrideThePresetInTheFileAndAfterIt() throws {
        let file = minimal.replacing("{preset: tiny}", with: "{heads: 8, width: 512, preset: tiny}")
        let model = try RunConfiguration(yaml: file).model
        #expect(model.layers == 4 && model.width == 512 && model.heads == 8 && model.feedForward == 1536)
        let again = try RunConfiguration(yaml: file, overrides: ["model.preset=0.16b", "model.layers=2"]).model
        #expect(again.layers == 2 && again.width == 768 && again.feedForward == 2048)
    }

    @Test func everyKeyIsReadWrittenAndReadBack() throws {
        let file = """
            name: night-run_2.b
            seed: 9223372036854775807
            model: {layers: 3, width: 96, heads: 6, kv_heads: 2, head_width: 32, ffn: 100, images: none, patch: 4, timestep_after_projection: true,
              initial_weights: /models/llama, norm_epsilon: 1e-06, rope_base: 500000, tied_embeddings: true,
              rope_scaling: {factor: 32, low_frequency_factor: 0.5, high_frequency_factor: 8, original_context: 4096},
              attention_bias: qkvo, qk_norm: true, norm: post,
              shared_image_position: true, attend_across_documents: true, end_of_image_is_target: true,
              causal_images: true}
            data: {path: "/data/with space: ü", caption_first: 0.25, caption_dropout: 0, noise_cap: 1000,
              text_image_ratio: 0.3333333333333333, max_caption_tokens: 77, horizontal_flip: true}
            objective: {image_loss_weight: 1.5, z_loss: 1e-05}
            optimizer: {beta1: 0, beta2: 0.999, epsilon: 1e-06, weight_decay: 0, clip_norm: 0.5,
              frozen: [model.layers.0.*, "*.bias"], learning_rate_factors: {model.layers.*: 0.5, "*norm*": 1e-3}}
            schedule: {steps: 250_000, learning_rate: 2e-3, minimum_learning_rate: 0, warmup_steps: 0}
            batch: {sequence_length: 256, global_sequences: 12, micro_sequences: 4}
            parallel: {data: 3, tensor: 2, sequence_parallel: false, reduction: elastic, threads: 2, recompute: full}
            precision: bf16
            checkpoint: {every_steps: off, every_minutes: 7.5, keep: {last: 1, every: 500}, compression: off,
              asynchronous: false, when_busy: skip, wait_to_save: 5, encryption_key_file: /keys/run}
            samples: {every_steps: 10, prompts: ["owl", "a \\"red\\"\\theart 🦉\\n", "yes", "3"], diffusion_steps: 7,
              cfg_scale: 2}
            evaluation: {every_steps: 25, sequences: 12}
            telemetry: {log_every_steps: 5, tensorboard: false}
            supervision: {start_timeout: 60, heartbeat_timeout: 5, step_timeout: 30.5, save_timeout: 90, kill_timeout: 45,
              restarts: 0, backoff: 0, straggler_ratio: 2, loss_spike: off, free_disk: 20}
            """
        let configuration = try RunConfiguration(yaml: file)
        #expect(configuration.samples.prompts == ["owl", "a \"red\"\theart 🦉\n", "yes", "3"])
        #expect(configuration.schedule.steps == 250_000)
        #expect(configuration.checkpoint.everySteps == nil && configuration.checkpoint.keepEvery == 500)
        let base = try RunConfiguration(yaml: minimal)
        let other = try RunConfiguration(
            yaml: """
                task: autoencoder
                autoencoder: {preset: small, kind: vq, average_decay: 0.99, code_norm: l2, codebook: ema,
                  codebook_decay: 0.95, revive_codes_below: 0.1}
                objective: {kl_weight: 0.5, codebook_weight: 0, adversarial_weight: 0.25,
                  perceptual_weight: 2, perceptual_network: vgg.pth, perceptual_heads: heads.pth, identity_weight: 1,
                  identity_network: moco.pth}
                discriminator: {start: 1000, warmup_steps: 100, ramp_steps: 10, weight: fixed, layers: 2, width: 32,
                  learning_rate: 1e-3, beta1: 0.1, beta2: 0.8, weight_decay: 0.5, clip_norm: 2}
                data: {path: data/emoji}
                schedule: {steps: 2000, warmup_steps: 100}
                batch: {global_sequences: 16}
                """)
        let unet = try RunConfiguration(
            yaml: minimal, overrides: ["model.patch_coder=unet", "model.unet_channels=96"])
        #expect(try RunConfiguration(yaml: unet.resolved) == unet)
        let differences = [configuration, other, unet].flatMap { $0.differences(from: base) }
        let untouched = ConfigurationKey.all.map(\.path).filter { path in
            !["model.preset", "data.sources"].contains(path) && !differences.contains { $0.key == path }
        }
        #expect(untouched.isEmpty, "the file above must set every key to something else than the default")

        #expect(try RunConfiguration(yaml: configuration.resolved) == configuration)
        #expect(try RunConfiguration(yaml: base.resolved) == base)
        #expect(try RunConfiguration(yaml: other.resolved) == other)
        #expect(!other.resolved.contains(" heads:") && !base.resolved.contains("kl_weight"))
    }

    @Test func keysOfAnotherTaskAreRefused() {
        let autoencoder = minimal.replacing("model: {preset: tiny}", with: "task: autoencoder")
        #expect(problems(in: autoencoder).isEmpty)
        #expect(
            problems(in: autoencoder, overrides: ["model.heads=4", "parallel.recompute=full"])
                == ["run.yaml: model.heads: is no key of task: autoencoder; leave it away"])
        #expect(
            problems(in: autoencoder, overrides: ["parallel.recompute=selective"])
                == ["run.yaml: parallel.recompute: selective is for transformers; use none or full"])
        #expect(
            problems(in: minimal, overrides: ["autoencoder.kind=vq"])
                == ["run.yaml: autoencoder.kind: is no key of task: transfusion; leave it away"])
    }

    @Test func keysOfACodebookNeedOne() {
        let autoencoder = minimal.replacing("model: {preset: tiny}", with: "task: autoencoder")
        #expect(
            problems(in: autoencoder, overrides: ["autoencoder.code_norm=l2", "autoencoder.revive_codes_below=0.1"])
                == ["code_norm", "revive_codes_below"].map {
                    "run.yaml: autoencoder.\($0): is for a codebook; set autoencoder.kind: vq, or leave it out"
                })
        let vq = ["autoencoder.kind=vq", "autoencoder.codebook_decay=0.9"]
        #expect(
            problems(in: autoencoder, overrides: vq) == [
                "run.yaml: autoencoder.codebook_decay: is for averages, and the run has none; set autoencoder.codebook: ema or "
                    + "autoencoder.revive_codes_below, or leave it out"
            ])
        #expect(problems(in: autoencoder, overrides: vq + ["autoencoder.codebook=ema"]).isEmpty)
        #expect(problems(in: autoencoder, overrides: vq + ["autoencoder.revive_codes_below=1"]).isEmpty)
    }

    /// A reader of YAML 1.1 takes 2e-05 for a text, as it has no point, and off for false.
    @Test func numbersAndWordsAreWhatTheyAreToOlderReadersToo() throws {
        var configuration = try RunConfiguration(yaml: minimal)
        configuration.schedule.minimumLearningRate = 0
        for (value, text) in [
            (2e-5, "2.0e-05"), (1.5e-5, "1.5e-05"), (1e-8, "1.0e-08"), (0.5, "0.5"), (3, "3"), (1e-300, "1.0e-300"),
        ] {
            configuration.schedule.learningRate = value
            #expect(configuration.resolved.contains("\n  learning_rate: \(text)\n"))
            #expect(try RunConfiguration(yaml: configuration.resolved) == configuration)
        }
        configuration.checkpoint.everySteps = nil
        #expect(configuration.resolved.contains("\n  every_steps: \"off\"\n"))
        #expect(try RunConfiguration(yaml: configuration.resolved) == configuration)
        // Elsewhere quotes make a text of a word.
        configuration.model.initialWeights = "none"
        #expect(try RunConfiguration(yaml: configuration.resolved) == configuration)
        for line in configuration.resolved.split(separator: "\n") {
            let value = line.split(separator: " ").last ?? ""
            #expect(!["off", "on", "yes", "no"].contains(value) && value.firstMatch(of: /^\de[-+]/) == nil, "\(line)")
        }
    }

    @Test func allProblemsAreReportedWithTheirLines() {
        let file = """
            model:
              preset: large
              widht: 512
            data: {path: d}
            optimizer:
              beta1: 1.5
              learning_rate: 3
            shedule: {steps: 1}
            batch: {global_sequences: "16"}
            precision: [f32]
            """
        #expect(
            problems(in: file) == [
                "run.yaml:3: model.widht: there is no such key; did you mean model.width?",
                "run.yaml:7: optimizer.learning_rate: there is no such key; did you mean schedule.learning_rate?",
                "run.yaml:8: shedule: there is no such key; did you mean schedule?",
                "run.yaml:10: precision: must be one of auto | f32 | bf16, not a list",
                "run.yaml:2: model.preset: must be one of tiny | 0.16b | 0.37b | 0.76b | 1.4b | 7b, not \"large\"",
                "run.yaml:6: optimizer.beta1: must be a number from 0 to below 1, not \"1.5\"",
                "run.yaml:9: batch.global_sequences: must be an integer from 1 to 1048576, not \"16\"",
            ])
    }

    @Test func whatIsMissingIsNamed() {
        let found = problems(in: "seed: 3")
        #expect(found.count == 6)
        for key in [
            "model.layers", "model.width", "model.heads", "data.path", "schedule.steps", "batch.global_sequences",
        ] {
            #expect(found.contains { $0.hasPrefix("run.yaml: \(key): is needed") })
        }
    }

    @Test(arguments: [
        (
            "optimizer.beta1=2",
            "--set optimizer.beta1=2: optimizer.beta1: must be a number from 0 to below 1, not \"2\""
        ),
        ("optimiser.beta1=0.5", "did you mean optimizer.beta1?"), ("seed", "must have the form key=value"),
        ("=3", "must have the form key=value"),
        ("batch=3", "batch: is a section; set its keys one by one, as in batch.sequence_length=…"),
        ("model={layers: 2}", "model: is a section; set its keys one by one, as in model.preset=…"),
        ("seed=", "must be an integer of at least 0, not empty"),
        ("seed=-1", "integer of at least 0"), ("seed=1e3", "integer of at least 0"),
        ("samples.prompts=[a, [b]]", "it holds a list"), ("samples.prompts=[a", "is not YAML"),
        ("schedule.learning_rate=nan", "must be a number above 0"),
        ("schedule.learning_rate=1e999", "must be a number"),
        ("schedule.learning_rate=0x1p3", "must be a number"), ("telemetry.tensorboard=yes", "must be true or false"),
        ("name=../x", "must be 1 to 64 letters"), ("checkpoint.every_minutes=0", "must be off, or number above 0"),
    ]) func wrongOverridesAreRefused(_ override: String, _ message: String) {
        let found = problems(in: minimal, overrides: [override])
        #expect(found.count == 1 && found[0].contains(message), "\(found)")
    }

    @Test func overridesComeAfterTheFileInTheirOrder() throws {
        let overrides = ["seed=1", "seed=2", "samples.prompts=[owl, 'a: b']", "checkpoint.every_minutes=2.5"]
        let configuration = try RunConfiguration(yaml: minimal, overrides: overrides)
        #expect(configuration.seed == 2)
        #expect(configuration.samples.prompts == ["owl", "a: b"])
        #expect(configuration.checkpoint.everyMinutes == 2.5)
    }

    @Test(arguments: [
        "- a\n- b", "just text", "a: [1, 2", "seed: 1\nseed: 2", "? [a, b]\n: 3", "model: 3", "*nothing", "a: \u{1}",
        "--- \n...\n---\nseed: 1", "data: {path: *x}", "\"\\uD800\": 1", "seed: !!binary aGk=",
    ]) func whatIsNoConfigurationIsRefused(_ yaml: String) {
        #expect(!problems(in: yaml).isEmpty)
    }

    @Test func hugeInputIsRefusedBeforeItIsExpanded() {
        var laughs = "a: &a [x, x]\n"
        for letter in "bcdefghijklmnopqrstuvwxyz" {
            let previous = Character(UnicodeScalar(letter.asciiValue! - 1))
            laughs += "\(letter): &\(letter) [*\(previous), *\(previous), *\(previous)]\n"
        }
        laughs += "? *z\n: 1\n"
        for end in ["\n", "\r\n", "\r", "\n\u{FEFF}", " # the quote\n"] {
            #expect(problems(in: laughs.replacing("\n", with: end)).first?.contains("16 YAML aliases") == true)
        }
        // What looks like comments are ends of quoted texts.
        let hidden = "a: &a [x]\n" + "b: [\"x\n # y\", *a]\n".repeated(17)
        #expect(problems(in: hidden).first?.contains("16 YAML aliases") == true)
        #expect(problems(in: String(repeating: "a", count: 300_000)).first?.contains("larger") == true)
        #expect(!problems(in: String(repeating: "[", count: 200_000)).isEmpty)
        #expect(!problems(in: String(repeating: "- ", count: 900) + "a").isEmpty)
        let manyUnknown = (0..<5000).map { "unknown_\($0): 1" }.joined(separator: "\n")
        #expect(problems(in: manyUnknown).count == 50)
    }

    @Test func starsThatAreNoAliasesAreNotCounted() throws {
        let notes = "# * note\n#* it's\nseed: 3 # - *x\n   # [*a, *b]\n"
        let comments = "  # - * note\n".repeated(40)
        let prompts = "samples: {prompts: [a * b, \"*x*\", 'a *b']}\n"
        #expect(problems(in: comments + notes + prompts + minimal).isEmpty)
        let many = "samples:\n  prompts:\n" + "    - \"a * b *c\"\n    - a *star* here\n".repeated(20)
        #expect(problems(in: many + minimal).isEmpty)
        let aliases = "samples:\n  prompts: [&a owl" + ", *a".repeated(16) + "]\n"
        #expect(try RunConfiguration(yaml: aliases + minimal).samples.prompts == Array(repeating: "owl", count: 17))
    }

    @Test func filesThatAreNoConfigurationsAreNamed() throws {
        let directory = try TemporaryDirectory()
        let missing = #expect(throws: ConfigurationError.self) {
            try RunConfiguration.load(directory.path + "/no.yaml")
        }
        #expect(missing?.description.contains("/no.yaml: there is no such file") == true)
        #expect(throws: ConfigurationError.self) { try RunConfiguration.load(directory.path) }
        try Data([0xFF, 0xFE, 0x00]).write(to: URL(filePath: directory.path + "/binary.yaml"))
        let binary = #expect(throws: ConfigurationError.self) {
            try RunConfiguration.load(directory.path + "/binary.yaml")
        }
        #expect(binary?.description.contains("is not UTF-8 text") == true)
        try Data(minimal.utf8).write(to: URL(filePath: directory.path + "/shapes.v2.yaml"))
        #expect(try RunConfiguration.load(directory.path + "/shapes.v2.yaml").name == "shapes.v2")
    }

    @Test(arguments: [
        ("exp=3e-4,bs=8", "exp-3e-4-bs-8"), ("_exp1", "exp1"), ("my train (2)", "my-train-2"), ("a--b-", "a--b-"),
        ("Größe", "Gr-e"), ("模型", "run"), ("...", "run"), ("null", "null"), ("1e5", "1e5"), ("true", "true"),
        ("007", "007"),
        (String(repeating: "x", count: 99), String(repeating: "x", count: 64)),
    ]) func everyFileGivesARunANameThatCanBeReadAgain(_ stem: String, _ name: String) throws {
        let directory = try TemporaryDirectory()
        try Data(minimal.utf8).write(to: URL(filePath: directory.file(stem + ".yaml")))
        let configuration = try RunConfiguration.load(directory.file(stem + ".yaml"))
        #expect(configuration.name == name)
        #expect(try RunConfiguration(yaml: configuration.resolved) == configuration)
    }

    @Test func editDistanceCountsSwaps() {
        #expect(editDistance("", "abc") == 3)
        #expect(editDistance("widht", "width") == 1)
        #expect(editDistance("kitten", "sitting") == 3)
        #expect(nearestName(to: "zzzzzz", among: ["model", "seed"]) == nil)
    }
}
