"""The words of other tools for what we have, and for what we do not have: a table, read when an error is written.

From the documentation of PyTorch, torchvision, Keras, Lightning, Hugging Face's Trainer, Ultralytics, timm, fastai,
scikit-learn, Ludwig, MMEngine, Hydra, Detectron2 and PaddlePaddle. Capitals, `_` and `-` do not count. A word may
stand in several lines: the one that suits its place is taken, else the first. `other_tools` looks them up.
"""

KEYS = {
    "name": "run_name experiment experiment_name exp_name project project_name model_name_or_id task_name "
    "wandb_project",
    "seed": "random_seed manual_seed seed_everything set_seed global_seed data_seed randomness rng_seed shuffle_seed "
    "random_state",
    "imports": "custom_imports user_module plugins external_modules",
    "extends": "_base_ defaults base_config parent inherit include hyp",
    "data": "dataset datamodule data_module dls dataloaders datablock input_features datasets train_data train_dataset",
    "loader": "dataloader data_loader train_dataloader train_loader",
    "model": "net network backbone encoder architecture lightning_module module estimator",
    "loss": "loss_fn loss_func loss_function criterion objective train_loss_fn compute_loss jsd_loss bce_loss",
    "metrics": "metric evaluator val_evaluator test_evaluator compute_metrics weighted_metrics eval_metrics",
    "optimizer": "opt optim opt_func optim_wrapper optimizer_type optimizer_name configure_optimizers solver",
    "scheduler": "sched lr_scheduler lr_scheduler_type learning_rate_scheduler param_scheduler lr_schedule "
    "LearningRateScheduler lr_policy policy",
    "train": "trainer fit train_cfg training_args training_arguments training TrainingArguments train_loop",
    "log": "logger logging log_config log_processor LoggerHook CSVLogger",
    "checkpoint": "ModelCheckpoint checkpointing checkpoint_config CheckpointHook SaveModelCallback saver "
    "save_checkpoint BackupAndRestore CheckpointSaver enable_checkpointing save_ckpt",
    "sweep.axes": "hyperopt search_space sweeper hparams_search param_grid param_distributions parameter_grid",
    "train.epochs": "num_train_epochs max_epochs n_epochs num_epochs nb_epoch epoch n_epoch total_epochs max_epoch "
    "train_epochs EpochBasedTrainLoop num_train_epoch epoch_count cyc_len passes max_iter ep",
    "train.steps_per_epoch": "batches_per_epoch iters_per_epoch num_batches_per_epoch",
    "train.min_steps": "min_train_steps min_iters",
    "train.max_steps": "max_iters total_steps train_steps num_train_steps num_training_steps total_iterations "
    "num_steps max_train_steps IterBasedTrainLoop n_steps num_iterations num_iters iterations steps n_iter "
    "total_updates max_iterations max_fun max_iter",
    "train.max_minutes": "max_time Timer max_duration time_limit max_runtime time_budget time hours",
    "train.limit_batches": "limit_train_batches limit_val_batches limit_test_batches overfit_batches "
    "validation_steps debug_batches max_batches num_batches",
    "train.eval_every": "eval_steps eval_strategy evaluation_strategy val_check_interval check_val_every_n_epoch "
    "val_interval validation_freq eval_interval evaluate_every eval_freq val_every eval_every_n_steps do_eval "
    "eval_during_training steps_per_eval metric_freq",
    "train.accumulate": "gradient_accumulation_steps accumulate_grad_batches accumulative_counts grad_accum_steps "
    "GradientAccumulation GradientAccumulationScheduler grad_accum accumulation_steps update_freq "
    "accumulate_steps steps_per_update n_acc nbs microbatch_size device_train_microbatch_size",
    "train.ema": "use_ema ema_decay model_ema model_ema_decay EMAHook EMACallback ema_momentum WeightAveraging "
    "StochasticWeightAveraging swa swa_lrs exponential_moving_average SwapEMAWeights average_weights polyak",
    "train.clip_norm": "max_grad_norm gradient_clip_val gradient_clip gradient_clipping clipnorm global_clipnorm "
    "clip_grad clip_grad_norm grad_clip grad_clip_norm GradientClip max_norm clipglobalnorm "
    "gradient_clip_algorithm clip_mode clip_gradients grad_norm_clip gradient_clip_norm GradientNormClipping "
    "gradient_clip_value",
    "train.precision": "half_precision dtype torch_dtype use_mixed_precision half native_amp apex_amp amp_dtype "
    "amp_level amp_impl autocast AmpOptimWrapper precision_plugin floatx",
    "train.precision=fp16": "fp16 amp mixed_precision to_fp16 MixedPrecision use_amp use_fp16 fp16_full_eval",
    "train.precision=bf16": "bf16 bf16_full_eval to_bf16 use_bf16 bfloat16",
    "train.precision=fp32": "to_fp32 tf32 fp32 no_amp",
    "train.device": "places device_map accelerator device_type device_id default_device gpu_id target_device no_accel",
    "train.device=cuda, one device a run": "gpu gpus num_gpus n_gpus devices gpu_ids use_cuda cuda use_gpu "
    "gpus_per_node nproc_per_node num_devices",
    "train.device=cpu": "use_cpu no_cuda cpu force_cpu",
    "train.device=mps": "use_mps_device use_mps mps",
    "train.on_nonfinite": "TerminateOnNaN detect_anomaly check_finite stop_on_nan skip_nan logging_nan_inf_filter "
    "terminate_on_nan",
    "train.compile": "torch_compile torchcompile jit_compile compile_model model_compile torchscript fuser "
    "compile_options use_compile",
    "train.deterministic": "full_determinism deterministic_algorithms cudnn_deterministic "
    "use_deterministic_algorithms deterministic_mode",
    "train.early_stopping": "early_stop EarlyStopping EarlyStoppingCallback EarlyStoppingHook earlystop "
    "use_early_stopping early_stopper EarlyStopper",
    "train.early_stopping.patience": "early_stopping_patience early_stopping_rounds early_stop_patience "
    "patience_epochs max_patience stopping_patience n_iter_no_change",
    "train.early_stopping.min_delta": "early_stopping_threshold stopping_threshold tolerance tol threshold",
    "loader.batch_size": "per_device_train_batch_size train_batch_size bs batch batchsize effective_batch_size "
    "mini_batch_size minibatch_size samples_per_gpu global_batch_size per_gpu_train_batch_size "
    "batch_size_per_gpu auto_scale_batch_size",
    "loader.eval_batch_size": "per_device_eval_batch_size validation_batch_size val_batch_size test_batch_size vb "
    "val_bs per_gpu_eval_batch_size",
    "loader.num_workers": "workers dataloader_num_workers n_workers nworkers num_proc workers_per_gpu j threads "
    "num_threads use_multiprocessing preprocessing_num_workers n_jobs",
    "loader.timeout": "dataloader_timeout ddp_timeout",
    "loader.pin_memory": "dataloader_pin_memory pin_mem pinned_memory",
    "loader.drop_last": "dataloader_drop_last drop_remainder",
    "loader.sampler=balanced": "repeat_threshold RepeatFactorTrainingSampler WeightedRandomSampler "
    "train_sampling_strategy weighted_sampler balanced_sampler "
    "weighted_dl weighted_dataloaders WeightedDL oversample oversample_minority undersample_majority "
    "ClassBalancedDataset class_balanced sampler_weights image_weights",
    "optimizer.lr": "rate learning_rate lr_max max_lr base_lr initial_lr initial_learning_rate eta lr_base peak_lr "
    "step_size_up lr0 learning_rate_init eta0",
    "optimizer.head_lr": "lr_mult layer_decay discriminative_lr layerwise_lr paramwise_cfg head_learning_rate",
    "optimizer.weight_decay": "lambda wd decay l2 l2_reg weight_decay_rate kernel_regularizer regularizer "
    "regularization_lambda regularization_type l2_regularization l2_regularization_strength weightdecay "
    "l2_lambda alpha_l2 reg_lambda opt_weight_decay lambda_l2 alpha C penalty reg_alpha",
    "optimizer.decay_bias_and_norm": "apply_decay_param_fun wd_bn_bias norm_decay_mult bias_decay_mult "
    "exclude_from_weight_decay "
    "no_weight_decay filter_bias_and_bn bypass_duplicate norm_weight_decay bias_weight_decay weight_decay_norm "
    "weight_decay_bias",
    "optimizer.betas": "adam_beta1 adam_beta2 beta_1 beta_2 beta1 beta2 opt_betas sqr_mom adam_betas",
    "optimizer.eps": "adam_epsilon epsilon opt_eps adam_eps",
    "optimizer.momentum": "mom moms sgd_momentum",
    "optimizer.nesterov": "use_nesterov nesterov_momentum nesterovs_momentum",
    "optimizer.alpha": "rho",
    "optimizer.lr_decay": "",
    "scheduler.warmup_steps": "num_warmup_steps warmup warmup_iters warmup_iterations warmup_updates",
    "scheduler.warmup_steps, in steps": "warmup_epochs warmup_ratio warmup_fraction warmup_evaluations "
    "warmup_proportion warmup_prefix warmup_num_epochs LinearWarmup warmup_target warmup_lr_scheduler warmup_pct "
    "t_warmup",
    "scheduler.min_factor, a share of lr": "min_lr eta_min alpha end_lr min_learning_rate end_learning_rate lr_min "
    "final_lr min_lr_ratio min_lr_rate lr_end eta_min_ratio lrf alpha_f",
    "scheduler.end_factor, a share of lr": "end_lr end_learning_rate eta_min min_lr min_factor",
    "scheduler.gamma": "decay_rate lr_gamma lr_step_gamma lr_decay_rate decay_factor lr_decay_factor",
    "scheduler.factor": "reduce_on_plateau_rate lr_factor reduce_factor",
    "scheduler.patience": "reduce_on_plateau_patience lr_patience",
    "scheduler.min_lr": "min_learning_rate",
    "scheduler.step_size": "decay_epochs decay_steps lr_step lr_step_size decay_interval lr_drop step_epochs",
    "scheduler.milestones": "steps decay_milestones lr_steps boundaries lr_milestones",
    "scheduler.unit": "by_epoch convert_to_iter_based interval step_on_epochs step_every",
    "scheduler.power": "lr_power poly_power decay_power power_t",
    "scheduler.T_0": "first_decay_steps cycle_limit restart_period num_cycles",
    "scheduler.T_mult": "lr_cycle_mul t_mul cycle_mult",
    "scheduler.pct_start": "pct_rise",
    "scheduler.div_factor": "div",
    "scheduler.final_div_factor": "div_final",
    "scheduler.anneal_strategy": "annealing_strategy",
    "scheduler=cosine": "cosine_schedule cosine_annealing cosine_decay cosine_lr use_cosine fit_flat_cos flat_cos "
    "cos_lr",
    "scheduler=one_cycle": "fit_one_cycle one_cycle onecycle super_convergence",
    "scheduler=plateau": "reduce_on_plateau reduce_lr_on_plateau ReduceLROnPlateau",
    "loss.weight": "class_weight class_weights sample_class_weights loss_weight weights_per_class ce_weight "
    "cls_weights cls_pw",
    "loss.pos_weight": "positive_class_weight scale_pos_weight pos_weights",
    "loss.label_smoothing": "smoothing label_smoothing_factor label_smooth label_smooth_val smooth_eps",
    "loss.gamma": "focal_gamma fl_gamma",
    "loss.delta": "huber_delta",
    "loss.of": "losses loss_list",
    "loss=bce_with_logits": "from_logits use_sigmoid",
    "log.every": "logging_steps log_every_n_steps log_interval logging_strategy print_freq logging_interval "
    "print_every log_every log_freq logging_first_step log_steps update_freq verbose console_log_interval",
    "log.tensorboard": "VisualDL TensorBoardLogger TensorBoard TensorBoardCallback TensorboardVisBackend "
    "use_tensorboard "
    "tensorboard_logger tb_logger",
    "log.sinks": "loggers callbacks_log vis_backends report_to visualizer log_with log_to_console log_to_file",
    "log.hparams": "enable_autolog_hparams log_hyperparams save_hyperparameters",
    "log.pictures": "vis_period vis save_images log_images plot_samples visualize log_pictures "
    "NaiveVisualizationHook plots "
    "save_plots",
    "log.histograms": "histogram_freq log_histograms watch log_gradients write_histograms ActivationStats",
    "log.graph": "write_graph log_graph",
    "log.confusion_matrix": "plot_confusion_matrix ConfusionMatrix",
    "checkpoint.monitor": "metric_for_best_model monitor_metric save_best key_indicator validation_metric "
    "eval_metric validation_field best_metric optimized_metric early_stopping_metric goal_metric scoring",
    "checkpoint.mode": "greater_is_better comp rule monitor_mode greater_keys less_keys direction goal lower_is_better",
    "checkpoint.every": "save_steps save_strategy save_freq every_n_epochs every_n_train_steps train_time_interval "
    "save_interval checkpoint_interval steps_per_checkpoint checkpoints_per_epoch recovery_interval save_every "
    "every_epoch ckpt_interval checkpoint_every checkpoint_freq save_period",
    "checkpoint.keep": "save_total_limit save_top_k max_keep_ckpts checkpoint_hist max_to_keep keep_last "
    "keep_checkpoints keep_checkpoint_max save_num_checkpoints_to_keep",
    "data.path": "data_dir dataset_path root_dir data_root directory data_path dataset_root train_dir datadir "
    "dataroot image_dir img_dir train_file csv_path file_path filepath csv data_file dataset_dir train_path "
    "data_prefix data_files folder train_images",
    "data.root": "data_dir dataset_root cache_dir data_root root_dir dataset_download_dir",
    "data.download": "dataset_download",
    "data.labels": "label_file ann_file annotation_file labels_file y",
    "data.target": "target_column label_column output_features y_names dep_var target_name label_col y_col label "
    "label_names output_column output_columns output_feature target_columns label_key",
    "data.label_column": "label_col target_column label_key",
    "data.path_column": "fn_col image_column filename_col x_col img_key",
    "data.separator": "label_delim label_separator",
    "data.features": "input_columns cont_names feature_columns numeric_features input_features columns_to_use "
    "usecols feature_cols x_names continuous_features",
    "data.categorical": "cat_names categorical_features categorical_columns cat_cols cat_features "
    "categorical_feature OneHotEncoder OrdinalEncoder",
    "data.ignore": "drop_columns ignore_columns exclude_columns remove_unused_columns excluded_features skip_columns "
    "drop drop_cols",
    "data.missing": "missing_value_strategy fill_value FillMissing fill_strategy missing_values computed_fill_value "
    "imputer SimpleImputer imputation",
    "data.na_values": "nan_values null_values",
    "data.standardize": "normalization Normalization scale_features zscore normalize_features standardize_inputs "
    "Normalize feature_scaling scaler preprocessor StandardScaler MinMaxScaler RobustScaler preprocessing",
    "data.delimiter": "csv_delimiter",
    "data.val": "eval_data validation_split valid_pct val_split val_size val_fraction valid_size val_ratio "
    "validation_data "
    "split split_probabilities force_split valid_frac RandomSplitter splitter TrainTestSplitter val_percent "
    "holdout validation_set_size validation_size eval_split valid_split validation_ratio validation_fraction "
    "holdout_fraction ValidSplit train_split",
    "data.test": "test_split test_fraction test_ratio test_pct test_frac test_percent test_size",
    "data.stratify": "stratified stratify_by stratified_split",
    "data.subset": "limit_data sample_ratio subsample max_train_samples train_subset sample_size limit_train_samples "
    "num_train_samples data_fraction frac max_samples dataset_fraction fraction train_size",
    "data.split_column": "split_col ColSplitter valid_col",
    "data.group": "group_column group_by group_id groups",
    "data.size": "image_size img_size input_size target_size Resize Resizing RandomResize resolution crop_size "
    "resize_to input_resolution image_height image_width height width item_tfms height_width train_size_px "
    "img_scale imsize imgsz img min_size max_size min_size_train max_size_train val_resize_size val_crop_size "
    "train_crop_size",
    "data.resize": "resize_method crop_to_aspect_ratio pad_to_aspect_ratio crop_mode resize_mode CenterCrop rect crop",
    "data.resize=crop": "center_crop",
    "data.crop_pct": "crop_ratio central_fraction",
    "data.mode": "color_mode image_mode to_rgb grayscale",
    "data.cache": "cache_images use_cache cache_dataset in_memory cache_data preload cache_in_memory",
    "data.normalize": "image_mean image_std mean std imagenet_stats normalize_mean data_preprocessor rescale "
    "Rescaling ToTensor mean_std pixel_mean pixel_std standardize_image image_stats",
    "data.augment": "augmentation augmentations train_transform train_transforms transforms transform batch_tfms "
    "aug_transforms train_pipeline pipeline tfms data_augmentation use_augmentation augmenter "
    "preprocessing_layers image_augmentation train_aug aug augmentation_pipeline albumentations algorithms",
    "data.augment=[random_horizontal_flip]": "hflip do_flip RandomFlip random_flip horizontal_flip flip flip_prob "
    "fliplr flip_lr",
    "data.augment=[random_vertical_flip]": "vflip flip_vert vertical_flip flipud flip_ud",
    "data.augment=[random_resized_crop]": "scale ratio min_zoom max_zoom zoom_range min_scale random_resize "
    "random_zoom zoom resize_scale",
    "data.augment=[random_crop]": "crop_padding random_translate width_shift_range height_shift_range translate",
    "data.augment=[color_jitter]": "jitter brightness contrast saturation hue max_lighting p_lighting "
    "brightness_range colorjitter hsv hsv_h hsv_s hsv_v",
    "data.augment=[random_erasing]": "reprob remode recount random_erase erase cutout erase_prob re_prob erasing",
    "data.augment=[rand_augment]": "aa auto_augment autoaugment randaugment trivial_augment randaug augmix",
    "data.augment=[mixup]": "mixup mixup_alpha mixup_prob mix_up mixup_mode",
    "data.augment=[cutmix]": "cutmix cutmix_alpha cutmix_minmax cut_mix cutmix_prob",
    "data.task": "class_mode label_mode output_type problem_type",
    "data.classes": "class_names classes_list metainfo palette label_map id2label label2id names",
    "data.ignore_index": "seg_pad_val background_label reduce_zero_label ignore_label",
    "data.samples": "n_samples num_samples",
    "model.hidden": "hidden_sizes hidden_units hidden_dims hidden_layers layers layer_sizes fc_layers n_hidden "
    "fc_sizes units hidden_dim hidden_features fc_size mlp_layers dense_units num_hidden n_units lin_ftrs "
    "fc_dims mlp_dims hidden_channels hidden_size output_size num_fc_layers num_layers hidden_nodes neurons "
    "dense_layers width_mult nhid",
    "model.hidden_size": "hidden_dim units hidden rnn_size hidden_units state_size cell_size n_hid",
    "model.num_layers": "n_layers nlayers n_layer num_hidden_layers depth layers num_blocks num_rnn_layers "
    "stacked_layers num_encoder_layers",
    "model.d_model": "embed_dim embedding_dim hidden_dim hidden_size dim model_dim n_embd emb_sz embedding_size "
    "embed_size emsize",
    "model.nhead": "num_heads n_heads heads num_attention_heads n_head attention_heads",
    "model.dim_feedforward": "intermediate_size ffn_dim mlp_dim ff_dim d_ff transformer_output_size feedforward_dim",
    "model.positions": "position_embedding positional_encoding pos_embed position_encoding",
    "model.norm_first": "pre_norm prenorm norm_before",
    "model.activation": "act activation_function hidden_act act_layer nonlinearity act_cfg act_cls fc_activation "
    "conv_activation act_fn activation_fn",
    "model.dropout": "drop drop_rate dropout_rate dropout_p p_dropout ps embed_p hidden_dropout fc_dropout "
    "dropout_prob hidden_dropout_prob attention_dropout conv_dropout dropout_ratio classifier_dropout drop_p "
    "dropout_probability attention_probs_dropout_prob recurrent_dropout",
    "model.channels": "filters num_filters conv_layers out_channels n_filters base_channels conv_channels features "
    "num_features feature_maps feature_sizes",
    "model.kernel_size": "filter_size kernel conv_kernel_size ks",
    "model.norm": "batch_norm use_batchnorm norm_layer norm_cfg batchnorm use_bn conv_norm fc_norm first_bn "
    "use_batch_norm",
    "model.pool": "pooling pool_function pool_type global_pool gp",
    "model.pool_size": "pool_kernel_size pool_stride",
    "model.bidirectional": "bidir bi_directional",
    "model.arch": "model_name_or_path model_name model_type architecture_name backbone_name variant model_variant "
    "timm_name encoder_name config_name_model resnet_size",
    "model.weights": "pretrained init_from_checkpoint load_from checkpoint_path initial_checkpoint use_pretrained "
    "init_cfg pretrained_weights from_pretrained weights_path finetune_from load_weights encoder_weights "
    "model_path pretrained_path pretrained_model load_pretrained init_weights pretrain restore_from "
    "use_pretrained_model load_path load_params load_weights_only strict_weights",
    "model.freeze=backbone": "freeze_backbone frozen freeze_epochs trainable frozen_stages freeze_encoder "
    "BackboneFinetuning freeze_layers layers_to_freeze_regex freeze_base freeze_feature_extractor freeze_to "
    "linear_probe feature_extract freeze freezer layer_freezing freeze_at",
    "model.aux_loss": "auxiliary_head aux_logits",
    "model.members": "num_members ensemble_size n_ensemble num_models n_estimators",
    "model.layers.out_features": "units out_dim output_size num_units hidden_size output_dim",
    "model.layers.in_features": "input_dim in_dim",
    "model.layers.out_channels": "filters num_filters",
    "model.layers.p": "rate dropout_rate drop_prob",
    "model.layers.padding": "pad pad_mode",
    "model.layers.stride": "strides subsample",
    "model.layers.kernel_size": "pool_size filter_size",
    "model.layers.bias": "use_bias",
    "model.layers.eps": "epsilon",
    "model.layers.negative_slope": "alpha",
    "model.layers.num_embeddings": "vocab_size num_tokens",
    "model.layers.embedding_dim": "output_dim embed_dim",
    "data.augment.p": "probability prob apply_prob p_affine",
    "data.augment.degrees": "angle limit max_angle factor_degrees",
    "data.augment.num_ops": "",
    "data.augment.magnitude": "",
    "data.augment.alpha": "mixup_alpha cutmix_alpha",
    "data.augment.fill, a pixel value of 0 … 255": "value fill_value",
    "data.augment=[{name: random_rotation, degrees: 15}]": (
        "max_rotate rotation_range rotate rotation random_rotate rotation_degrees degrees"
    ),
    "data=synthetic": "dummy dummy_data fake_data",
}
"""By what is written here, `section.key` or `section.key=value`, with a remark after a comma: the words for it."""

VALUES = {
    "mlp": "MultilayerPerceptron dense ffnn feedforward fully_connected tabular_model TabularModel concat "
    "DenseEncoder fc feed_forward linear MLPClassifier MLPRegressor LogisticRegression LinearRegression "
    "Perceptron SGDClassifier SGDRegressor Ridge Lasso ElasticNet RidgeClassifier linear_model LinearSVC "
    "NeuralNetClassifier NeuralNetRegressor NeuralNet",
    "cnn": "ConvNet SimpleCNN convolutional stacked_cnn LeNet convnet conv_net lenet5 conv2d_net",
    "lstm": "LSTMNet AWD_LSTM bilstm lstm_cell",
    "gru": "GRUNet bigru",
    "rnn": "SimpleRNN",
    "transformer": "TransformerEncoder bert encoder tfm self_attention TSTransformer",
    "unet": "UNet u_net DynamicUnet unet_learner UNetEncoder",
    "sequential": "Sequential keras_model layers_list functional",
    "table": "ft_transformer tabnet tabtransformer fttransformer TabularLearner xgboost gbm lightgbm catboost "
    "HistGradientBoostingClassifier HistGradientBoostingRegressor GradientBoostingClassifier "
    "GradientBoostingRegressor",
    "torchvision": "torchvision_model vision_learner cnn_learner image_classifier ImageClassifier",
    "timm": "TimmModel timm_model AutoModelForImageClassification create_model",
    "torchvision_segmentation": "deeplabv3 fcn deeplab",
    "image_folder": "ImageFolder ImageDataset imagefolder from_folder image_dataset_from_directory "
    "flow_from_directory ImageDataLoaders folder ImageNet_folder image_classification CustomDataset imagenet10 "
    "imagenette",
    "image_list": "from_csv from_df flow_from_dataframe from_lists image_csv",
    "csv": "CSVLogger csv_logger",
    "tensors": "TensorDataset numpy npz from_tensor_slices array arrays numpy_arrays",
    "synthetic": "FakeData random dummy RandomDataset toy make_classification make_regression make_blobs make_moons",
    "segmentation_folder": "SegmentationDataLoaders BaseSegDataset segmentation VOCSegmentation",
    "cross_entropy": "SparseCategoricalCrossentropy CategoricalCrossentropy sparse_categorical_crossentropy ce xent "
    "nll categorical_crossentropy CrossEntropyLoss CrossEntropyLossFlat softmax_cross_entropy NLLLoss nll_loss "
    "softmax LabelSmoothingCrossEntropy SoftTargetCrossEntropy cross_entropy_with_logits "
    "LabelSmoothingCrossEntropyFlat neg_log_likelihood log_loss modified_huber",
    "bce_with_logits": "BinaryCrossentropy binary_crossentropy BCEWithLogitsLoss BCELoss bce BCEWithLogitsLossFlat "
    "BCELossFlat sigmoid_cross_entropy binary_weighted_cross_entropy binary_cross_entropy "
    "MultiLabelSoftMarginLoss logistic_loss binary_cross_entropy_with_logits multilabel_bce",
    "mse": "MeanSquaredError mean_squared_error MSELoss MSELossFlat l2 mse_loss l2_loss squared_error",
    "l1": "MeanAbsoluteError mean_absolute_error L1Loss mae L1LossFlat mae_loss l1_loss absolute_error",
    "smooth_l1": "SmoothL1Loss SmoothL1 smooth_l1_loss",
    "huber": "HuberLoss huber_loss log_cosh LogCosh pseudo_huber",
    "dice": "DiceLoss Dice dice_loss soft_dice tversky",
    "focal": "FocalLoss BinaryFocalCrossentropy CategoricalFocalCrossentropy FocalLossFlat binary_focal_crossentropy "
    "categorical_focal_crossentropy focal_loss sigmoid_focal_loss",
    "sum": "compound combined_loss CombinedLoss DiceCELoss",
    "accuracy": "Accuracy acc categorical_accuracy SparseCategoricalAccuracy CategoricalAccuracy BinaryAccuracy "
    "sparse_categorical_accuracy MulticlassAccuracy top1 top_1 top5 TopKCategoricalAccuracy hits_at_k "
    "accuracy_multi error error_rate exact_match MultilabelAccuracy binary_accuracy accuracy_micro "
    "top_k_categorical_accuracy sparse_top_k_categorical_accuracy SingleLabelMetric accuracy_score "
    "top_k_accuracy valid_acc",
    "precision": "Precision PrecisionMulti MulticlassPrecision BinaryPrecision ppv MultilabelPrecision precision_score",
    "recall": "Recall RecallMulti MulticlassRecall sensitivity BinaryRecall tpr BalancedAccuracy balanced_acc "
    "balanced_accuracy",
    "f1": "F1Score F1ScoreMulti f1score f_score fscore MulticlassF1Score BinaryF1Score FBeta FBetaScore f_beta "
    "f_measure",
    "average_precision": "AveragePrecision average_precision_score APScoreBinary aucpr pr_auc auprc ap",
    "auroc": "AUC AUROC roc_auc RocAuc RocAucBinary RocAucMulti BinaryAUROC MulticlassAUROC roc auc_roc ROCAUC "
    "area_under_roc",
    "mae": "MeanAbsoluteError mean_absolute_error L1 l1_error neg_mean_absolute_error",
    "rmse": "RootMeanSquaredError root_mean_squared_error rms_error rmsd neg_root_mean_squared_error",
    "r2": "R2Score r_squared ExplainedVariance rsquared coefficient_of_determination",
    "mean_iou": "MeanIoU iou Jaccard JaccardIndex IoU jaccard_index JaccardCoeff OneHotMeanIoU miou IoUMetric "
    "jaccard_score",
    "mean_dice": "DiceCoefficient DiceMulti dice DiceScore mdice dice_score GeneralizedDiceScore",
    "pixel_accuracy": "foreground_acc aAcc pixel_acc",
    "sgd": "momentum SGDP nesterov minibatch_sgd sgd_momentum SGDW schedule_free_sgd MuSGD decoupled_sgdw",
    "adam": "adam_torch optimizers_adam adam_fused fused_adam adam_default Adam8bit auto",
    "adamw": "adamw_torch adamw_hf adamw_torch_fused adamw_apex_fused adamw_bnb_8bit adamw_8bit adamw_anyprecision "
    "paged_adamw fused_adamw AdamWeightDecay adamw_fused paged_adamw_32bit paged_adamw_8bit adamw_torch_xla "
    "adamw_torch_4bit decoupled_adam schedule_free_adamw stable_adamw",
    "nadam": "NAdamW",
    "radam": "RectifiedAdam ranger schedule_free_radam",
    "rmsprop": "rmsproptf rmsprop_tf rms_prop rmsprop_bnb rmsprop_bnb_8bit rmsprop_bnb_32bit",
    "constant": "ConstantLR constant_with_warmup none constant_lr fixed polynomial_0 fit inverse_sqrt",
    "step": "StepLR step_decay steplr staircase StepParamScheduler",
    "multistep": "PiecewiseDecay MultiStepLR PiecewiseConstantDecay piecewise_constant multi_step lr_step "
    "MultiStepParamScheduler",
    "exponential": "ExponentialLR ExponentialDecay exponential_decay exp InverseTimeDecay ExponentialParamScheduler",
    "cosine": "CosineAnnealingLR CosineDecay cosine_annealing cosine_decay cos CosineLRScheduler cosine_with_min_lr "
    "CosineAnnealing fit_flat_cos CosineAnnealingParamScheduler flat_cos SchedCos tanh cosine_lr cosineannealing "
    "warmup_cosine linear_warmup_cosine_annealing",
    "linear": "LinearLR linear_decay get_linear_schedule_with_warmup LinearParamScheduler linear_schedule SchedLin "
    "linear_with_warmup",
    "polynomial": "PolynomialLR PolynomialDecay poly PolyLR poly_lr SchedPoly",
    "cosine_restarts": "CosineAnnealingWarmRestarts cosine_with_restarts CosineDecayRestarts fit_sgdr sgdr "
    "cosine_warm_restarts CosineRestartLR warm_restarts cosine_annealing_warm_restarts "
    "cosine_annealing_warm_restart",
    "one_cycle": "OneCycleLR onecycle fit_one_cycle 1cycle one_cycle_lr OneCycle one_cycle_policy CyclicLR cyclic "
    "triangular",
    "plateau": "ReduceLROnPlateau reduce_lr_on_plateau reduce_on_plateau ReduceOnPlateauLR",
    "random_crop": "RandomCrop random_translation RandomTranslation RandomAffine pad_and_crop",
    "random_horizontal_flip": "RandomHorizontalFlip RandomFlip HorizontalFlip hflip FlipItem random_flip flip "
    "horizontal",
    "random_vertical_flip": "RandomVerticalFlip VerticalFlip vflip Dihedral DihedralItem",
    "random_rotation": "RandomRotation Rotate rotate random_rotate RandomRotate rotation",
    "random_resized_crop": "RandomResizedCrop RandomResizeCrop RandomZoom Zoom random_zoom RandomResizedCropGPU",
    "random_erasing": "RandomErasing CoarseDropout Cutout cutout",
    "color_jitter": "ColorJitter RandomBrightness RandomContrast RandomSaturation RandomHue Brightness Contrast "
    "Saturation Hue RandomColorJitter random_brightness random_contrast RandomBrightnessContrast "
    "HueSaturationValue jitter",
    "rand_augment": "RandAugment AutoAugment TrivialAugmentWide autoaugment AugMix trivialaugment auto_augment",
    "mixup": "MixUp mix_up",
    "cutmix": "CutMix cut_mix",
    "conv2d": "Conv2D Convolution2D SeparableConv2D Conv",
    "max_pool2d": "MaxPooling2D MaxPool MaxPool2D",
    "max_pool1d": "MaxPooling1D",
    "avg_pool2d": "AveragePooling2D AvgPool",
    "adaptive_avg_pool2d": "GlobalAveragePooling2D GlobalAvgPool2d AdaptiveAvgPool AdaptiveConcatPool2d",
    "adaptive_avg_pool1d": "GlobalAveragePooling1D",
    "adaptive_max_pool2d": "GlobalMaxPooling2D",
    "batch_norm2d": "BatchNormalization BatchNorm bn batch_normalization SyncBatchNorm",
    "batch_norm1d": "BatchNormalization BatchNorm bn",
    "layer_norm": "LayerNormalization LayerNorm ln layernorm",
    "group_norm": "GroupNormalization GroupNorm gn",
    "dropout2d": "SpatialDropout2D",
    "embedding": "Embedding EmbeddingBag",
    "silu": "swish SiLU Hardswish mish Mish hard_swish",
    "leaky_relu": "LeakyReLU lrelu prelu leakyrelu",
    "sigmoid": "hard_sigmoid logistic",
    "elu": "selu celu",
    "relu": "relu6 rectifier",
    "none": "identity linear no_activation layer batch_norm_false",
    "batch": "batch_norm batchnorm bn BN BatchNorm2d batch_normalization SyncBN",
    "max": "maximum maximize higher greater MaxPool",
    "min": "minimum minimize lower less",
    "avg": "average mean avgpool",
    "fp16": "O1 O2 16 16-mixed 16-true mixed_float16 half float16 mixed amp mixed_precision amp_fp16",
    "bf16": "bf16-mixed bf16-true mixed_bfloat16 bfloat16 amp_bf16",
    "fp32": "32 32-true float32 full single float",
    "cuda": "gpu GPU gpus cuda_device gpu0",
    "mps": "metal apple",
    "cpu": "CPU",
    "half": "inception minus_one_to_one",
    "imagenet": "imagenet_stats imagenet_default image_net",
    "rgb": "RGB color colour",
    "grey": "grayscale greyscale gray black_and_white",
    "stretch": "squish Squish squash fill",
    "pad": "letterbox pad_to_aspect_ratio ResizeWithPad",
    "crop": "crop_to_aspect_ratio center_crop CenterCrop",
    "classification": "categorical category classes multiclass multi_class single_label_classification CategoryBlock "
    "binary",
    "multilabel": "multi_label multi_label_classification MultiCategoryBlock set",
    "regression": "number continuous RegressionBlock numerical numeric",
    "standardize": "zscore z_score normalize standard",
    "log": "log1p",
    "mean": "fill_with_mean fillna fill impute average median most_frequent",
    "drop": "drop_row dropna drop_rows",
    "balanced": "RepeatFactorTrainingSampler weighted WeightedRandomSampler class_balanced oversample auto "
    "inverse_frequency",
    "shuffle": "RandomSampler random DefaultSampler",
    "backbone": "encoder body all_but_head base feature_extractor",
    "val/loss": "val_loss eval_loss valid_loss validation_loss test_loss loss",
    "skip": "ignore continue",
    "stop": "raise error abort",
    "tensorboard": "TensorBoardLogger TensorBoard tensorboard_logger TensorboardVisBackend tb",
    "jsonl": "json JSONLogger LocalVisBackend",
    "console": "ProgbarLogger stdout TQDMProgressBar RichProgressBar progress_bar print",
    "val/accuracy": "val_acc valid_acc val_accuracy eval_accuracy accuracy acc valid_accuracy",
}
"""By the value of ours, which may be in several families: the words for it."""

NONE = {
    "checkpoints hold all that a run needs to go on": "save_weights_only save_only_model with_opt save_optimizer "
    "save_param_scheduler save_on_exception save_hyperparams save_on_each_node save_safetensors",
    "to go on with a run: trainkit train --resume RUN; to begin with weights: model.weights": (
        "resume resume_from resume_from_checkpoint ckpt_path resume_training start_epoch initial_epoch resume_path "
        "resume_checkpoint ignore_data_skip no_resume_opt auto_resume start_step ckpt last_epoch begin reset_opt "
        "continue_training overwrite_output_dir warm_start autoresume"
    ),
    "runs go to runs/<name>/; --run-dir DIR names another place": (
        "output_dir work_dir default_root_dir dirpath logging_dir log_dir save_dir output checkpoint_dir "
        "output_directory out_dir run_dir model_dir filename experiment_dir results_dir save_path ckpt_dir "
        "tensorboard_dir fname filename_tmpl logdir workspace dump_dir output_path weights_save_path "
        "serialization_dir exist_ok save_folder save_overwrite save_filename dirname f_params f_optimizer "
        "f_criterion f_history save_latest_filename overwrite project_dir"
    ),
    "a run has one device and one process": "strategy num_nodes sync_batchnorm ddp fsdp deepspeed local_rank "
    "world_size launcher distributed find_unused_parameters ddp_find_unused_parameters DistributedDataParallel "
    "sync_bn dist_bn ddp_backend multi_gpu data_parallel backend no_ddp_bb fsdp_config rank tpu_cores tpu "
    "num_processes dist_url MirroredStrategy broadcast_buffers dist_backend parallelism_config horovod ray "
    "parallel ipu ddp_static_graph nodes node_rank model_wrapper_cfg accelerator_config accelerate "
    "tensor_parallel num_machines machine_rank",
    "nothing leaves this machine": "push_to_hub hub_model_id hub_token hub_strategy hub_private_repo hub_revision "
    "token hub_always_push use_auth_token upload model_registry trust_remote_code",
    "quick tries: trainkit train CONFIG --fast-dev-run": (
        "fast_dev_run dry_run debug smoke_test test_run quick_run barebones"
    ),
    "what is printed: -q for less, log.every for how often": (
        "enable_progress_bar disable_tqdm progress_bar quiet silent log_level progress ProgressBar TQDMProgressBar "
        "RichProgressBar ProgbarLogger verbosity tqdm show_progress progress_bar_refresh_rate enable_model_summary "
        "weights_summary ModelSummary num_sanity_val_steps loglevel"
    ),
    "trainkit summary CONFIG shows the model": "model_summary summarize RichModelSummary print_model",
    "trainkit lr-find CONFIG finds a learning rate": "auto_lr_find LearningRateFinder lr_find find_lr suggest_lr",
    "the batch size is yours to choose: loader.batch_size": (
        "auto_find_batch_size BatchSizeFinder scale_batch_size increase_batch_size_on_plateau max_batch_size "
        "auto_scale_lr learning_rate_scaling"
    ),
    "trainkit sweep CONFIG KEY=V1,V2 tries several values": (
        "multirun sweep hyperparameter_search optuna RandomSearch Hyperband keras_tuner GridSearch n_trials "
        "num_trials hyperparameter_tuning grid_search search ray_tune evolve GridSearchCV RandomizedSearchCV "
        "HalvingGridSearchCV"
    ),
    "trainkit eval --ckpt FILE evaluates a checkpoint": "eval do_eval_only evaluate test_only do_test eval_only "
    "validate val_only evaluate_only do_test_eval skip_test",
    "trainkit predict --ckpt FILE INPUT predicts": "do_predict predict inference predict_with_generate infer "
    "limit_predict_batches",
    "trainkit train CONFIG trains": "do_train fit_model action command subcommand run_mode mode",
    "the config is the first word: trainkit train CONFIG": (
        "config config_name config_path config_file cfg cfg_file config_dir cfg_options cfg_path config_dict config_str"
    ),
    "workers live as long as the run": "persistent_workers dataloader_persistent_workers",
    "a last smaller batch counts by its samples; loader.drop_last leaves it out": (
        "allow_uneven_batches pad_last_batch"
    ),
    "sources make whole batches; your own dataset pads sequences with data.collate=pad": (
        "collate_fn data_collator collate"
    ),
    "losses take logits: no softmax or sigmoid at the model's end": (
        "softmax apply_softmax final_activation last_activation output_activation from_logits_false logits"
    ),
    "the learning rate is recorded always": "LearningRateMonitor lr_monitor log_lr log_momentum log_weight_decay "
    "IterTimerHook",
    "metrics are recorded in metrics.jsonl always, with log.sinks=[csv] in a CSV, too": (
        "history History log_model Recorder"
    ),
    "the momentum stays as it is": "cycle_momentum momentum_scheduler momentum_warmup base_momentum max_momentum "
    "warmup_momentum",
    "the curve always spans the run": "T_max total_iters num_training_steps_schedule lr_total_steps lr_epochs",
    "there is no cool-down; scheduler=one_cycle or cosine end low": ("cooldown cooldown_epochs"),
    "the rate has no noise": "lr_noise lr_noise_pct lr_noise_std lr_cycle_decay lr_cycle_limit lr_k_decay",
    "the warm-up begins near 0; scheduler.warmup_steps is its length": (
        "start_lr warmup_lr warmup_start_lr warmup_factor warmup_init_lr warmup_lr_init warmup_by_epoch warmup_method "
        "warmup_bias_lr"
    ),
    "no such regularisation; model.dropout and optimizer.weight_decay are there": (
        "drop_path drop_path_rate drop_connect drop_block stochastic_depth l1_reg l1_ratio drop_connect_rate "
        "activity_regularizer bias_regularizer neftune_noise_alpha rdrop l1_regularization_strength l1 spectral_norm "
        "max_norm_constraint kernel_constraint"
    ),
    "predictions are of the pictures as they are: no test-time augmentation": (
        "tta test_time_augmentation tta_model n_augs"
    ),
    "bilinear, where pictures are resized": "interpolation train_interpolation resample antialias",
    "no such optimizer; adamw is the nearest, or register your own": (
        "lion lamb adafactor lars ftrl sophia adabelief adan madgrad lookahead LBFGS Loss_Scale_Optimizer lomo "
        "galore prodigy novograd shampoo soap ademamix larc kron adopt qhadam adamp lion_8bit lion_32bit adahessian "
        "QHAdam paged_lion_8bit galore_adamw apollo_adamw grokadamw adalomo dadaptation lbfgs decoupled_lionw"
    ),
    "the number of classes comes from the data": "num_classes n_classes n_out out_features output_dim num_labels "
    "out_dim nclass num_outputs c_out n_output num_class classes_num num_targets",
    "the number of channels comes from the data": "in_channels in_chans num_channels infer_image_num_channels",
    "the input size comes from the data": "in_features input_shape input_dim n_in input_features_size "
    "infer_image_dimensions vocab_size",
    "a loss is the mean over samples, so that it does not depend on the batch size": (
        "reduction size_average loss_reduction"
    ),
    "the best and the last checkpoint are always kept": "save load_best save_model",
    "no export yet: checkpoints are read by torch.load": (
        "format export opset simplify onnx workspace int8 dynamic keras nms_export"
    ),
    "the data decides between classification, labels, numbers and masks": ("task"),
    "the best checkpoint is always kept, as checkpoints/best.pt": (
        "load_best_model_at_end save_best_only restore_best_weights save_last save_best_model keep_best reset_on_fit"
    ),
    "no callbacks: see checkpoint, train.early_stopping, train.ema and log.sinks": (
        "callbacks cbs hooks custom_hooks default_hooks callback LambdaCallback train_callbacks default_cbs "
        "CallbackList callback_list"
    ),
    "no such sink: log.tensorboard is there, or register your own for log.sinks": (
        "wandb mlflow comet neptune WandbLogger WandbCallback MLFlowLogger CometLogger NeptuneLogger use_wandb "
        "log_wandb wandb_logger mlflow_logger clearml aim trackio swanlab wandb_entity dvclive RemoteMonitor "
        "WandbVisBackend tracking_uri wandb_mode"
    ),
    "no boxes and key points; masks are data.name=segmentation_folder": (
        "detect detection object_detection bbox anchors nms iou_threshold FasterRCNN faster_rcnn CocoDetection "
        "CocoDataset box_loss pose keypoints retinanet rcnn detr mask_rcnn nms_threshold conf_threshold "
        "score_threshold max_detections num_queries boxes anchor_generator iou conf box dfl max_det agnostic_nms "
        "kobj overlap_mask mask_ratio retina_masks yolo yolov8n yolo11n yolov5s yolov8s single_cls cls rle track "
        "coco8 coco128 coco tracker"
    ),
    "no such transform; trainkit list transforms shows those of data.augment": (
        "RandomPerspective RandomGrayscale GaussianBlur RandomShear max_warp ElasticTransform random_shear "
        "gaussian_noise RandomSolarize solarize RandomInvert RandomPosterize RandomEqualize GaussianNoise blur "
        "PhotoMetricDistortion aug_repeats aug_splits epoch_repeats random_affine RandomGaussianBlur shear_range "
        "channel_shift_range Mosaic rgb2bgr elastic repeated_augmentation mixup_off_epoch mixup_switch_prob resplit "
        "RandomSharpness mosaic copy_paste close_mosaic bgr shear perspective multi_scale squeeze_excite colout "
        "blurpool progressive_resizing copy_paste_mode"
    ),
    "no such loss; trainkit list losses shows those there are, or register your own": (
        "KLDivergence KLDivLoss kl_divergence Hinge CategoricalHinge hinge squared_hinge CosineSimilarity "
        "cosine_similarity CTC CTCLoss TripletMarginLoss triplet Poisson PoissonNLLLoss MeanAbsolutePercentageError "
        "mape msle MeanSquaredLogarithmicError quantile pinball contrastive InfoNCE corn MarginRankingLoss "
        "GaussianNLLLoss HingeEmbeddingLoss ArcFace circle rmspe categorical_hinge CosineEmbeddingLoss poly_loss "
        "LovaszLoss lovasz root_mean_squared_percentage_error asymmetric_loss perceptron epsilon_insensitive "
        "squared_epsilon_insensitive neg_log_loss_"
    ),
    "no such metric; trainkit list metrics shows those there are, or register your own": (
        "matthews_corrcoef MatthewsCorrCoef CohenKappa cohen_kappa specificity "
        "HammingLoss hamming_loss brier BrierScore bleu rouge perplexity Perplexity mAP map "
        "SpearmanCorrCoef PearsonCorrCoef pearson spearman FalsePositives TruePositives explained_variance "
        "log_loss_metric calibration_error wer token_accuracy BLEU TrueNegatives FalseNegatives "
        "mean_absolute_percentage_error median_absolute_error SpecificityAtSensitivity PrecisionAtRecall "
        "neg_log_loss jaccard_micro EpochScoring"
    ),
    "no such scheduler; trainkit list schedulers shows those there are": (
        "LambdaLR SequentialLR ChainedScheduler MultiplicativeLR lambda WSD warmup_stable_decay SchedNo "
        "combined_scheds noam reduce_lr_on_loss CosineParamScheduler ConstantParamScheduler"
    ),
    "networks only: model=table for tables, model=mlp for the rest": (
        "RandomForestClassifier RandomForestRegressor DecisionTreeClassifier DecisionTreeRegressor "
        "ExtraTreesClassifier KNeighborsClassifier KNeighborsRegressor SVC SVR GaussianNB MultinomialNB "
        "AdaBoostClassifier BaggingClassifier random_forest decision_tree naive_bayes svm knn "
        "GaussianProcessClassifier IsolationForest KMeans PCA LinearDiscriminantAnalysis VotingClassifier "
        "StackingClassifier"
    ),
    "memory is not traded for time; use a smaller loader.batch_size and train.accumulate": (
        "gradient_checkpointing grad_checkpointing activation_checkpointing gradient_checkpointing_kwargs "
        "enable_gradient_checkpointing offload cpu_offload torch_empty_cache_steps enable_activation_checkpointing "
        "checkpoint_activations"
    ),
    "not a setting here; train.compile may make steps faster": (
        "benchmark cudnn_benchmark cudnn use_cudnn run_eagerly steps_per_execution xla eager inference_mode "
        "tf32_matmul float32_matmul_precision env_cfg channels_last memory_format data_format"
    ),
    "only the norm of all gradients is clipped: train.clip_norm": (
        "clipvalue clip_value gradient_clip_value clip_grad_value agc"
    ),
    "samples have no weights, classes have: loss.weight, or loader.sampler=balanced": (
        "sample_weight sample_weights sample_weight_mode weight_column"
    ),
    "no folds: data.val is one split; trainkit sweep CONFIG seed=0,1,2 repeats runs": (
        "kfold n_folds folds fold num_folds k_fold cross_validation cross_validate k_folds cv_folds cv n_splits "
        "KFold StratifiedKFold cross_val_score"
    ),
    "the classes come from the data": "nc classes",
    "not a setting here; trainkit predict and trainkit report show results": (
        "source show save_txt save_crop save_conf show_labels line_width"
    ),
    "no profiler here": "profiler PyTorchProfiler enable_profiling SimpleProfiler ProfilerHook DeviceStatsMonitor "
    "ThroughputMonitor profile",
    "a config is one file, which may extend another: extends: base.yaml": (
        "hydra package config_groups override_dirname config_overrides searchpath"
    ),
    "trainkit predict gives probabilities": "predict_nonlinearity",
    "not a setting here; loader.num_workers is the number of workers": (
        "use_shared_memory return_list prefetch_factor dataloader_prefetch_factor prefetch prefetcher "
        "no_prefetcher multiprocessing_context "
        "worker_init_fn worker_seeding use_multi_epochs_loader max_queue_size buffer_size num_parallel_calls"
    ),
    "training samples are shuffled, the others never are; loader.sampler has other orders": (
        "batch_sampler shuffle should_shuffle sampler_type DefaultSampler RandomSampler shuffle_train shuffle_dataset "
        "group_by_length use_distributed_sampler"
    ),
    "no text yet: pictures, tables and sequences of numbers": (
        "tokenizer max_length max_seq_length tokenizer_name AutoTokenizer padding_side block_size text_column "
        "max_sequence_length source_lang lora peft lora_r quantization bits load_in_4bit generation_max_length "
        "TextDataLoaders seq_len vocab language_model text_field_prefix max_new_tokens use_lora"
    ),
    "there is one learning rate: optimizer.lr, and optimizer.head_lr for the last layer": "bias_lr_factor "
    "bias_lr_mult lr_mult",
    "pictures are all brought to data.size; none are grouped": "aspect_ratio_grouping",
    "samples are taken as they are; what is not wanted is left out of the files": "filter_empty_annotations "
    "min_keypoints",
    "masks are pictures whose values are classes: data.masks": "mask_format",
    "BatchNorm keeps the statistics of training; nothing is measured anew": "precise_bn update_bn",
    "the scale of the loss is found while training; leave it out": "init_loss_scaling loss_scaling "
    "use_dynamic_loss_scaling incr_ratio decr_ratio",
    "everything learns that model.freeze does not keep as it is": "parameters parameter_list",
    "gradients here are dense; leave it out": "lazy_mode",
    "it begins at 0 here; leave it out": "initial_accumulator_value",
    "every scheduler can warm up: scheduler.warmup_steps": "LinearWarmup WarmupLR warmup_lr_scheduler",
    "targets that are fractions are numbers; loss.label_smoothing softens classes": "soft_label soft_labels",
    "what counts as an improvement is train.early_stopping.min_delta": "baseline",
}
"""By what to say where we have nothing of the name: the words for it."""

ARCHITECTURES = {
    "torchvision": "resnet vgg densenet mobilenet efficientnet convnext vit_b vit_l swin alexnet googlenet inception "
    "resnext wide_resnet regnet squeezenet shufflenet mnasnet maxvit",
    "timm": "deit beit eva02 tf_efficientnet vit_ mixer coatnet nfnet tresnet xception edgenext seresnet res2net "
    "levit cait pvt davit hrnet ghostnet repvgg dla cspnet cspdarknet",
    "torchvision_segmentation": "fcn_resnet deeplabv3_ lraspp",
}
"""By the model that has them: how the names of architectures begin."""

LITTLE = (
    "num nb n no max total init initial train training use per device default enable enabled do with the my value name "
    "type config cfg param params kwargs arg args"
)
"""Parts of words that say little: they may be missing, or more."""
LITTLE_OF_VALUES = (
    f"{LITTLE} loss flat scheduler lr metric optimizer layer classifier regressor model score torch keras load make "
    "get fn func function dataset net pt pth cls seg s x"
)
"""The same of values."""
NOTHING_ALONE = (
    "size path mode every layer weight dir file folder image rate split val test step epoch learning optimizer data "
    "loss model t save load log first last error network class"
)
"""Parts that do not make a word like another by themselves."""
SAME_PARTS = {
    "validation": "val",
    "valid": "val",
    "iterations": "step",
    "iteration": "step",
    "iters": "step",
    "iter": "step",
    "steps": "step",
    "img": "image",
    "imgs": "image",
    "period": "every",
    "interval": "every",
    "freq": "every",
}
"""Parts that are the same in other words."""

SHORT_FLAGS = {
    "loader.batch_size": "b bs",
    "train.epochs": "e ep n",
    "optimizer.lr": "lr l",
    "loader.num_workers": "j w nw",
    "train.device": "d g",
    "model": "m a",
    "optimizer.weight_decay": "wd",
    "seed": "s",
    "log.every": "p",
}
"""By what to write instead of flags of one or two letters: the letters."""
OFF = {
    "train.precision": "fp32",
    "train.device": "cpu",
    "train.compile": "false",
    "train.deterministic": "false",
    "train.cuda_graph": "false",
    "log.tensorboard": "false",
    "log.pictures": "false",
    "log.hparams": "false",
    "loader.pin_memory": "false",
    "loader.drop_last": "false",
    "loader.sampler": "shuffle",
    "scheduler": "constant",
    "data.augment": "[]",
    "data.normalize": "none",
    "data.cache": "false",
    "data.stratify": "false",
    "data.download": "false",
    "data.val": "0",
    "model.weights": "none",
    "model.freeze": "none",
    "optimizer.nesterov": "false",
    "scheduler.warmup_steps": "0",
}
"""What a negative flag such as `--no-pretrained` is for a key; `null` for all others."""

NAMES = "type class_name class_path _target_ _component_ cls identifier kind obj_type"
"""What others call the `name` of a component."""
