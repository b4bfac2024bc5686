// swift-tools-version: 6.2
import PackageDescription

/// One list for every Swift target; each flag with the proposal that explains it.
let swiftSettings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),  // SE-0335
    .enableUpcomingFeature("MemberImportVisibility"),  // SE-0444
    .enableUpcomingFeature("InternalImportsByDefault"),  // SE-0409
    .treatAllWarnings(as: .error),  // SE-0480
    .treatWarning("DeprecatedDeclaration", as: .warning),
]

let argumentParser: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")

func library(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: swiftSettings)
}

func command(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .executableTarget(
        name: name, dependencies: dependencies + ["TransfusionConfig", argumentParser], swiftSettings: swiftSettings)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(
        name: name + "Tests", dependencies: dependencies + [.target(name: name), "_TestUtilities"],
        swiftSettings: swiftSettings)
}

func system(_ name: String, pkgConfig: String?, _ packages: String...) -> Target {
    .systemLibrary(name: name, pkgConfig: pkgConfig, providers: [.apt(packages)])
}

let package = Package(
    name: "transfusion",
    products: [
        .executable(name: "tf-worker", targets: ["tf-worker"]),
        .executable(name: "tf-data", targets: ["tf-data"]),
        .executable(name: "tf-sample", targets: ["tf-sample"]),
        .executable(name: "tf-eval", targets: ["tf-eval"]),
        .executable(name: "tf-ckpt", targets: ["tf-ckpt"]),
        .executable(name: "tf-bench", targets: ["tf-bench"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    ],
    targets: [
        // System libraries and C code. Each imports nothing of the project.
        .target(
            name: "CKernels",
            cSettings: [
                .define("NDEBUG", .when(configuration: .release)),
                // Kernels are vectorised in every configuration; without -ffast-math, so NaN and Inf survive.
                .unsafeFlags(["-O3", "-std=c11", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"]),
            ],
            linkerSettings: [.linkedLibrary("m")]),
        system("CMPI", pkgConfig: "ompi-c", "libopenmpi-dev"),
        system("COpenBLAS", pkgConfig: "openblas", "libopenblas-dev"),
        system("COneDNN", pkgConfig: nil, "libdnnl-dev"),
        system("CZstd", pkgConfig: "libzstd", "libzstd-dev"),
        system("COpenSSL", pkgConfig: "libcrypto", "libssl-dev"),
        system("CFreeType", pkgConfig: "freetype2", "libfreetype-dev"),
        system("CPNG", pkgConfig: "libpng", "libpng-dev"),
        .target(
            name: "CSentencePiece",
            cxxSettings: [.unsafeFlags(["-std=c++17"])],
            linkerSettings: [.linkedLibrary("sentencepiece"), .linkedLibrary("sentencepiece_train")]),

        // Libraries, each importing only those above it.
        library("TransfusionCore", ["CKernels", "COpenBLAS", "COneDNN"]),
        library("TransfusionConfig", ["TransfusionCore", "Yams", argumentParser]),
        library("TransfusionTelemetry", ["TransfusionConfig"]),
        library("TransfusionParallel", ["TransfusionCore", "CKernels", "CMPI"]),
        library("TransfusionData", ["TransfusionCore", "CSentencePiece", "CFreeType", "CPNG", "COpenSSL"]),
        library("TransfusionCheckpoint", ["TransfusionCore", "COpenSSL", "CZstd"]),
        library(
            "TransfusionTraining",
            [
                "TransfusionCore", "TransfusionConfig", "TransfusionTelemetry", "TransfusionParallel",
                "TransfusionData", "TransfusionCheckpoint", "TransfusionInference",
            ]),
        library(
            "TransfusionInference",
            ["TransfusionCore", "TransfusionConfig", "TransfusionData", "TransfusionCheckpoint"]),
        library("TransfusionEvaluation", ["TransfusionCore", "TransfusionData", "TransfusionCheckpoint"]),

        // Commands: argument parsing and printing only.
        command("tf-worker", ["TransfusionTraining", "TransfusionParallel"]),
        command("tf-data", ["TransfusionData"]),
        command("tf-sample", ["TransfusionInference", "TransfusionData"]),
        command("tf-eval", ["TransfusionEvaluation"]),
        command("tf-ckpt", ["TransfusionCore", "TransfusionCheckpoint"]),
        command("tf-bench", ["TransfusionTraining", "TransfusionParallel", "TransfusionCore"]),

        // Tests mirror the sources.
        .target(
            name: "_TestUtilities", dependencies: ["TransfusionCore", "TransfusionData", "TransfusionCheckpoint"],
            path: "Tests/_TestUtilities",
            swiftSettings: swiftSettings),
        tests("TransfusionCore", []),
        tests("TransfusionConfig", []),
        tests("TransfusionTelemetry", []),
        .executableTarget(
            name: "CollectivesProbe", dependencies: ["TransfusionCore", "TransfusionParallel"],
            path: "Tests/CollectivesProbe", swiftSettings: swiftSettings),
        tests("TransfusionParallel", ["TransfusionCore", "CKernels", "CollectivesProbe"]),
        tests("TransfusionData", []),
        tests("TransfusionCheckpoint", []),
        tests("TransfusionTraining", []),
        tests("TransfusionInference", []),
        tests("TransfusionEvaluation", []),
        .testTarget(
            name: "CommandTests",
            dependencies: [
                "_TestUtilities", "tf-worker", "tf-data", "tf-sample", "tf-eval", "tf-ckpt", "tf-bench",
            ],
            swiftSettings: swiftSettings),
    ],
    swiftLanguageModes: [.v6]
)
